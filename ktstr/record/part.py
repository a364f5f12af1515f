"""What one shard of a run leaves for ``doit merge``: what the whole run is, and what came of this part of its cells.

``schemas/shard_part.schema.json`` is made from these types (``record.dump_schema``). A part comes from a machine that
shares nothing with the one that reads it: texts are bounded and printable, and no path is one yet (``results.shards``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count, NotNegative
from ktstr.record.outcome import JUDGED, Outcome

VERSION: Literal[1] = 1
MAX_SHARDS = 999_999

Line: TypeAlias = Annotated[str, Meta(max_length=4096)]
Text: TypeAlias = Annotated[str, Meta(max_length=1 << 20)]
Digest: TypeAlias = Annotated[str, Meta(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
Index: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_SHARDS)]
PartAccel: TypeAlias = Literal["kvm", "icount", "tcg"]
PartKind: TypeAlias = Literal["cell", "broken", "skip"]
PartVerdict: TypeAlias = Literal["pass", "fail", "inconclusive", "skip", "error", "not run"]

# What make and the shell would take for more than the name of a compiler, a file or a number stays out.
_WORDS = re.compile(r"[\w./:@+=, -]*")


# What comes of a cell, of one whose scheduler cannot be had, and of one that its test's constraints rule out.
_VERDICTS_OF: dict[PartKind, frozenset[str]] = {
    "cell": frozenset({*JUDGED, Outcome.ERROR, Outcome.NOT_RUN}),
    "broken": frozenset({Outcome.ERROR}),
    "skip": frozenset({Outcome.SKIP}),
}


class Whole(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The run that shards are parts of: the same in each of them.

    ``cells`` and ``skips`` are how many were selected, ``selection`` the digest of their names in order. ``asked``: the
    variables that decide what a cell is beside its name. ``narrowed``: what else than ``shard=`` left out cells.
    """

    ktstr: Annotated[Line, Meta(description="the version of ktstr")]
    commit: Annotated[Line | None, Meta(description="of the project")]
    declarations: Annotated[Digest, Meta(description="of ktstr.yaml, with what it includes")]
    accel: Annotated[PartAccel, Meta(description="what ran the guests")]
    machine: Annotated[Line, Meta(description="the identity of the emulator, or of the monitor's build")]
    kernels: Annotated[dict[Line, Line], Meta(description="the identity of each kernel, by its label")]
    asked: dict[Line, Line]
    narrowed: Line
    cells: Count
    skips: Count
    selection: Digest

    def __post_init__(self) -> None:
        for name, value in self.asked.items():
            if not _WORDS.fullmatch(value):
                raise ValueError(f"asked: found {value[:60]!r} for {name}, expected words")
        lines = (self.ktstr, self.commit or "", self.machine, self.narrowed, *self.asked)
        _refuse_unprintable((*lines, *self.kernels, *self.kernels.values()))


class PartError(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What could not be done, as the user was told."""

    message: Text
    fix: Text | None
    exit_code: Literal[2, 3]

    def __post_init__(self) -> None:
        _refuse_unprintable((self.message, self.fix or ""))


class PartFailure(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task that is no cell and could not be done, such as the build of a kernel."""

    task: Line
    error: PartError

    def __post_init__(self) -> None:
        _refuse_unprintable((self.task,))


class PartCell(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell of a shard. ``place``: among all cells of the run, or among all skips, from 0.

    ``broken``: its scheduler could not be had. ``kernel`` is a label, ``kernel_word`` what ``kernel=`` takes. ``files``
    and ``sidecar``: paths from the folder of run directories. ``seconds`` of host time; None for what did not run.
    """

    place: Count
    kind: PartKind
    test: Line
    preset: Line
    kernel: Line
    kernel_word: Line
    scheduler: Line
    accel: PartAccel
    seed: Count
    keep: tuple[Count, ...] | None
    name: Line
    verdict: PartVerdict
    reasons: tuple[Text, ...]
    seconds: NotNegative | None
    ran: bool
    input_digest: Digest | None
    sidecar: Line | None
    files: tuple[Line, ...]
    error: PartError | None

    def __post_init__(self) -> None:
        lines = (self.test, self.preset, self.kernel, self.kernel_word, self.scheduler, self.name)
        _refuse_unprintable((*lines, *self.reasons))
        kept = self.name.removeprefix(
            f"{self.test}/{self.preset}/{self.kernel}/{self.scheduler}/{self.accel}-s{self.seed}"
        )
        if not (kept.startswith("-keep-") if self.keep is not None else kept == ""):
            raise ValueError(f"name: found {self.name[:200]!r}, expected that of its test, preset and so on")
        if self.verdict not in _VERDICTS_OF[self.kind]:
            raise ValueError(f"verdict: found {self.verdict!r} of a {self.kind}")
        if self.verdict in JUDGED and (self.input_digest is None or self.sidecar is None):
            raise ValueError(f"found no input_digest or no sidecar, expected both of what is judged ({self.verdict})")


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What shard ``index`` of ``of`` left. ``interrupted``: it ended before its cells did."""

    version: Literal[1]
    index: Index
    of: Index
    whole: Whole
    interrupted: bool
    cells: tuple[PartCell, ...]
    failures: tuple[PartFailure, ...]

    @property
    def shard(self) -> str:
        return f"{self.index}/{self.of}"


def selection_digest(cells: Iterable[str], skips: Iterable[str]) -> str:
    """SHA-256 over the names of all cells and of all skips, in order."""
    return hashlib.sha256(json.dumps([list(cells), list(skips)]).encode()).hexdigest()


def _refuse_unprintable(texts: tuple[str, ...]) -> None:
    """Raise ValueError for a text whose lines would do something else to a terminal than be shown."""
    for text in texts:
        for line in text.split("\n"):
            if not line.isprintable():
                raise ValueError(f"found {line[:60]!r}, expected text that can be printed")
