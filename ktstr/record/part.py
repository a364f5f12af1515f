"""What one shard of a run leaves for ``doit merge``: what the whole run is, and what came of this part of its cells.

``schemas/shard_part.schema.json`` is made from these types (``record.dump_schema``). A part comes from a machine that
shares nothing with the one that reads it: numbers and texts are bounded, texts are printable. ``files`` are words here;
that they lead nowhere else is checked by who opens them (``results.shards.inside``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count, NotNegative
from ktstr.record.outcome import JUDGED, Outcome

VERSION: Literal[1] = 1
MAX_SHARDS = 999_999
MAX_CELLS = 10_000_000  # of a run
MAX_LINE, MAX_TEXT = 4096, 1 << 20  # characters

Line: TypeAlias = Annotated[str, Meta(max_length=MAX_LINE)]
Text: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT)]
Cells: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_CELLS)]
Digest: TypeAlias = Annotated[str, Meta(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
Index: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_SHARDS)]
PartAccel: TypeAlias = Literal["kvm", "icount", "tcg"]
PartKind: TypeAlias = Literal["cell", "broken", "skip"]
PartVerdict: TypeAlias = Literal["pass", "fail", "inconclusive", "skip", "error", "not run"]

# The variables that decide what a cell is beside its name.
_DECISIVE = frozenset({"work_type", "kconfig", "CC", "LLVM", "release", "no_clone", "scheduler"})

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
    cells: Cells
    skips: Cells
    selection: Digest

    def __post_init__(self) -> None:
        if unknown := sorted(self.asked.keys() - _DECISIVE):
            raise ValueError(f"asked: found {unknown[0][:60]!r}, expected one of {', '.join(sorted(_DECISIVE))}")
        lines = (self.ktstr, self.commit or "", self.machine, self.narrowed, *self.asked.values())
        _refuse_no_lines((*lines, *self.kernels, *self.kernels.values()))


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
        _refuse_no_lines((self.task,))


class PartCell(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell of a shard. ``place``: among all cells of the run, or among all skips, from 0.

    ``broken``: its scheduler could not be had. ``kernel`` is a label, ``kernel_word`` what ``kernel=`` takes.
    ``files``: paths from the folder of run directories. ``seconds`` of host time; None for what did not run. The
    sidecar of what is judged or skipped lies beside the part (``sidecar_name``).
    """

    place: Annotated[int, Meta(ge=0, lt=MAX_CELLS)]
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
    files: tuple[Line, ...]
    error: PartError | None

    def __post_init__(self) -> None:
        lines = (self.test, self.preset, self.kernel, self.kernel_word, self.scheduler, self.name)
        _refuse_no_lines((*lines, *self.files))
        _refuse_unprintable(self.reasons)
        kept = self.name.removeprefix(
            f"{self.test}/{self.preset}/{self.kernel}/{self.scheduler}/{self.accel}-s{self.seed}"
        )
        if not (kept.startswith("-keep-") if self.keep is not None else kept == ""):
            raise ValueError(f"name: found {self.name[:200]!r}, expected that of its test, preset and so on")
        if len(set(self.files)) != len(self.files):
            raise ValueError("files: found a name twice, expected each once")
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        if self.verdict not in _VERDICTS_OF[self.kind]:
            raise ValueError(f"verdict: found {self.verdict!r} of a {self.kind}")
        if self.verdict in JUDGED and self.input_digest is None:
            raise ValueError(f"input_digest: found none, expected that of what is judged ({self.verdict})")
        if self.error is not None and self.verdict != "error":
            raise ValueError(f"error: found one beside the verdict {self.verdict!r}")
        if self.error is None and self.kind == "broken":
            raise ValueError("error: found none, expected why its scheduler could not be had")

    @property
    def has_sidecar(self) -> bool:
        return self.verdict in (*JUDGED, Outcome.SKIP)

    @property
    def sidecar_name(self) -> str:
        """What its sidecar is called in the folder beside the part."""
        return f"{'skip' if self.kind == 'skip' else 'cell'}-{self.place}.json"


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What shard ``index`` of ``of`` left. ``interrupted``: it ended before its cells did. ``schedulers``: the digest
    of each program that its cells ran, by its name, with the kernel's label where it was built for that."""

    version: Literal[1]
    index: Index
    of: Index
    whole: Whole
    interrupted: bool
    schedulers: dict[Line, Digest]
    cells: tuple[PartCell, ...]
    failures: tuple[PartFailure, ...]

    def __post_init__(self) -> None:
        _refuse_no_lines(tuple(self.schedulers))

    @property
    def shard(self) -> str:
        return f"{self.index}/{self.of}"


def selection_digest(cells: Iterable[str], skips: Iterable[str]) -> str:
    """SHA-256 over the names of all cells and of all skips, in order."""
    return hashlib.sha256(json.dumps([list(cells), list(skips)]).encode()).hexdigest()


def is_line(text: str) -> bool:
    """Whether a part may have it as a ``Line``."""
    return len(text) <= MAX_LINE and text.isprintable()


def _refuse_no_lines(texts: tuple[str, ...]) -> None:
    """Raise ValueError for what a terminal would not show on one line, as it is."""
    for text in texts:
        if not text.isprintable():
            raise ValueError(f"found {text[:60]!r}, expected one line that can be printed")


def _refuse_unprintable(texts: tuple[str, ...]) -> None:
    """The same of texts of several lines."""
    for text in texts:
        for line in text.split("\n"):
            if not line.isprintable():
                raise ValueError(f"found {line[:60]!r}, expected text that can be printed")
