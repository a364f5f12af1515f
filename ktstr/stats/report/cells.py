"""The cells of one run as a report sees them: read from sidecars, grouped by what differs only in the seed."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from msgspec import UNSET

from ktstr.errors import HostError, InputError
from ktstr.record.host import Host
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import Reason, Sidecar
from ktstr.results.sidecar import read_sidecar
from ktstr.stats.frames import run_metrics, verdict
from ktstr.stats.null_fields import NULL_FIELDS
from ktstr.stats.runs import sidecars_of

# Worst first: how verdicts are ordered wherever the report orders by them.
SEVERITY = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.SKIP, Outcome.PASS)
# The more a kind says of the whole system, the sooner it is read.
WHOLE_SYSTEM = ("Panic", "SchedulerDied", "Evicted", "NotAttached", "DetachFailed", "Machine", "Setup", "NotAsExpected")
KINDS = (*WHOLE_SYSTEM, "Stuck", "Starved", "Deadline", "Isolation", "Unfair")


@dataclass(frozen=True)
class Cell:
    """One cell. ``path`` is its sidecar's; ``kernel`` what the run calls the kernel; ``absent``: the
    optional fields of a sidecar that this one has no value for."""

    path: Path
    test: str
    preset: str
    topology: str
    kernel: str
    kernel_version: str | None
    kernel_commit: str | None
    kernel_hz: int | None
    kernel_preempt: str | None
    scheduler: str
    accel: str
    seed: int
    verdict: Outcome
    expected_failure: bool
    reasons: tuple[Reason, ...]
    metrics: Mapping[str, float]
    input_digest: str | None
    project_commit: str | None
    measured_commit: str | None
    timestamp: str
    host: Host | None
    emulator: str | None
    origin: str | None
    absent: frozenset[str]

    @property
    def group(self) -> GroupKey:
        return GroupKey(self.test, self.preset, self.kernel, self.scheduler, self.accel)

    @property
    def name(self) -> str:
        return f"{self.group.name}-s{self.seed}"

    def command(self, called_as: str) -> str:
        """What runs this cell and no other, by what its sidecar says of it."""
        pins = {**self.group.pins, "seed": str(self.seed), "rerun": "1"}
        return " ".join([called_as, "test", *(shlex.quote(f"{name}={value}") for name, value in pins.items())])


@dataclass(frozen=True, order=True)
class GroupKey:
    """What cells have in common that differ in nothing but the seed."""

    test: str
    preset: str
    kernel: str
    scheduler: str
    accel: str

    @property
    def name(self) -> str:
        return f"{self.test}/{self.preset}/{self.kernel}/{self.scheduler}/{self.accel}"

    @property
    def pins(self) -> dict[str, str]:
        """The variables of ``doit test`` that select it."""
        return {name: getattr(self, name) for name in ("test", "preset", "kernel", "scheduler", "accel")}


@dataclass(frozen=True)
class CellGroup:
    """The cells of one key, worst first, then by seed."""

    key: GroupKey
    cells: tuple[Cell, ...]

    @property
    def worst(self) -> Cell:
        return self.cells[0]

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(cell.verdict for cell in self.cells)

    @property
    def failing(self) -> tuple[Cell, ...]:
        """Those that the user has to look at."""
        return tuple(cell for cell in self.cells if cell.verdict.unsuccessful)


@dataclass(frozen=True)
class Failure:
    """Groups that failed alike: one scheduler on one kernel, for the same kinds of reason. The first speaks for all.

    Of one test, unless the reason says something of the whole system.
    """

    groups: tuple[CellGroup, ...]

    @property
    def worst(self) -> Cell:
        return self.groups[0].worst


@dataclass(frozen=True)
class RunCells:
    """What one run directory holds. ``unread``: of each file named as a sidecar that is none, what is wrong with it."""

    folder: Path
    cells: tuple[Cell, ...]
    unread: tuple[str, ...]

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(cell.verdict for cell in self.cells)

    @property
    def groups(self) -> tuple[CellGroup, ...]:
        return grouped(self.cells)


def read_run(folder: Path) -> RunCells:
    """The sidecars of a run directory. One that cannot be read costs itself alone.

    Raises HostError when the folder cannot be listed.
    """
    cells: list[Cell] = []
    unread: list[str] = []
    try:
        paths = list(sidecars_of(folder))
    except OSError as err:
        raise HostError(f"{err.filename or folder}: cannot be listed: {err.strerror}") from err
    for path in paths:
        try:
            cells.append(cell_of(path, read_sidecar(path)))
        except InputError as err:
            unread.append(err.message)
    return RunCells(folder, tuple(cells), tuple(unread))


def cell_of(path: Path, sidecar: Sidecar) -> Cell:
    """What a report has of one sidecar."""
    return Cell(
        path=path,
        test=sidecar.test_name,
        preset=sidecar.preset,
        topology=sidecar.topology,
        kernel=sidecar.kernel_label or sidecar.kernel_version or "unknown",
        kernel_version=sidecar.kernel_version,
        kernel_commit=sidecar.kernel_commit,
        kernel_hz=sidecar.kernel_hz,
        kernel_preempt=sidecar.kernel_preempt,
        scheduler=sidecar.scheduler,
        accel=sidecar.accel,
        seed=sidecar.seed,
        verdict=Outcome(verdict(sidecar)),
        expected_failure=sidecar.expected_failure,
        reasons=sidecar.reasons,
        metrics=run_metrics(sidecar),
        input_digest=sidecar.input_digest,
        project_commit=sidecar.project_commit,
        measured_commit=sidecar.measured_commit,
        timestamp=sidecar.timestamp,
        host=sidecar.host,
        emulator=sidecar.emulator,
        origin=None if sidecar.origin is None else sidecar.origin.kind,
        absent=frozenset(name for name in NULL_FIELDS if getattr(sidecar, name) in (None, UNSET)),
    )


def severity(verdict: Outcome) -> int:
    """0 for the worst."""
    return SEVERITY.index(verdict)


def grouped(cells: Iterable[Cell]) -> tuple[CellGroup, ...]:
    """Cells by key, the groups by key."""
    ordered = sorted(cells, key=lambda cell: (cell.group, severity(cell.verdict), cell.seed))
    return tuple(CellGroup(key, tuple(members)) for key, members in groupby(ordered, key=lambda cell: cell.group))


def failures(groups: Sequence[CellGroup]) -> tuple[Failure, ...]:
    """What did not go well, worst first: by verdict, by kind of reason, by the share of seeds, by name."""
    found: dict[tuple[str, ...], list[CellGroup]] = {}
    for group in sorted((group for group in groups if group.failing), key=_badness):
        found.setdefault(_cause(group), []).append(group)
    return tuple(Failure(tuple(members)) for members in found.values())


def _badness(group: CellGroup) -> tuple[int, int, float, GroupKey]:
    kinds = [KINDS.index(reason.kind) for reason in group.worst.reasons if reason.kind in KINDS]
    share = len(group.failing) / len(group.cells)
    return severity(group.worst.verdict), min(kinds, default=len(KINDS)), -share, group.key


def _cause(group: CellGroup) -> tuple[str, ...]:
    """What groups have in common that failed for one cause, as far as can be told."""
    kinds = sorted({reason.kind for reason in group.worst.reasons})
    whole = any(kind in WHOLE_SYSTEM for kind in kinds)
    key = group.key
    return (group.worst.verdict, "" if whole else key.test, key.kernel, key.scheduler, key.accel, *kinds)
