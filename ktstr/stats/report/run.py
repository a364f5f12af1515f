"""The report of one run directory: reads it, chooses what is shown, and fills the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.cpulist import render
from ktstr.errors import KtstrError
from ktstr.record.guest import GuestRecord
from ktstr.record.outcome import Outcome
from ktstr.results.sidecar import read_sidecar
from ktstr.results.store import CellStore
from ktstr.stats.report import cells as cells_of_run
from ktstr.stats.report.cells import Cell, CellGroup, Failure, RunCells, severity
from ktstr.stats.report.distribution import scenarios
from ktstr.stats.report.facts import Facts, facts_of
from ktstr.stats.report.heat import HeatMap, heat_maps
from ktstr.stats.report.history import History
from ktstr.stats.report.page import page
from ktstr.stats.report.text import counted
from ktstr.stats.report.timeline import timeline_of
from ktstr.stats.report.view import (
    DrawnSeries,
    DrawnTimeline,
    ScenarioView,
    drawn_series,
    drawn_timeline,
    scenario_view,
)

# A page of thousands of cells has to open too: what is left out is said where it would be.
MAX_FAILURES, MAX_ROWS, MAX_SCENARIOS = 60, 3000, 40
FAILED_TIMELINES, OTHER_TIMELINES = 16, 6
COUNTED = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS, Outcome.SKIP)


@dataclass(frozen=True)
class Surroundings:
    """Where a run stands. ``base``: paths are shown relative to it; ``called_as``: how the user calls doit."""

    store: CellStore
    base: Path
    called_as: str = "doit"
    history: History = field(default_factory=lambda: History((), 0))

    def path(self, path: Path) -> str:
        return str(path.relative_to(self.base)) if path.is_relative_to(self.base) else str(path)


@dataclass(frozen=True)
class FailedPlace:
    """Where else something failed: which test, on which topology, with which seeds."""

    test: str
    preset: str
    seeds: str


@dataclass(frozen=True)
class FailureView:
    """An entry of what failed. ``cell``, the worst one, speaks for ``runs`` of them in all ``places``."""

    cell: Cell
    places: tuple[FailedPlace, ...]
    runs: int
    command: str
    sidecar: str
    files: str
    drawn: DrawnTimeline | None


@dataclass(frozen=True)
class RunView:
    """All that ``run.html`` prints."""

    name: str
    lead: str
    total: int
    counts: tuple[tuple[Outcome, int], ...]
    failures: tuple[FailureView, ...]
    failures_left_out: int
    maps: tuple[HeatMap, ...]
    scenarios: tuple[ScenarioView, ...]
    timelines: tuple[DrawnTimeline, ...]
    history: History
    histories: tuple[DrawnSeries, ...]
    rows: tuple[Cell, ...]
    rows_left_out: int
    anchor: Mapping[Path, str]
    facts: Facts
    unread: tuple[str, ...]

    @property
    def first_drawn(self) -> int | None:
        """The first entry, from 1, that has a timeline: the only one that is open."""
        return next((at for at, failure in enumerate(self.failures, 1) if failure.drawn), None)


def run_page(run: RunCells, around: Surroundings) -> str:
    """The page of a run."""
    return page("run.html", title=f"{run.folder.name}: ktstr", eyebrow="ktstr run", run=_view(run, around))


def _view(run: RunCells, around: Surroundings) -> RunView:
    groups = run.groups
    failed = cells_of_run.failures(groups)
    rows = sorted(run.cells, key=lambda cell: (severity(cell.verdict), cell.group, cell.seed))
    return RunView(
        name=run.folder.name,
        lead=_lead(run.cells),
        total=len(run.cells),
        counts=tuple((outcome, run.counts[outcome]) for outcome in COUNTED if run.counts[outcome]),
        failures=tuple(_failure(one, around, at) for at, one in enumerate(failed[:MAX_FAILURES])),
        failures_left_out=max(0, len(failed) - MAX_FAILURES),
        maps=heat_maps(groups),
        scenarios=tuple(map(scenario_view, scenarios(groups)[:MAX_SCENARIOS])),
        timelines=_largest_gaps(run.cells, around),
        history=around.history,
        histories=tuple(map(drawn_series, around.history.series)),
        rows=tuple(rows[:MAX_ROWS]),
        rows_left_out=max(0, len(rows) - MAX_ROWS),
        anchor={cell.path: f"cell-{at}" for at, cell in enumerate(rows)},
        facts=facts_of(run.cells),
        unread=run.unread,
    )


def _lead(cells: Sequence[Cell]) -> str:
    """When it was measured, and for which commits, kernels and schedulers."""
    if not cells:
        return "no sidecar in it can be read"
    times = sorted(cell.timestamp[:16].replace("T", " ") for cell in cells)
    when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
    commits = sorted({cell.project_commit for cell in cells if cell.project_commit})
    schedulers = sorted({cell.scheduler for cell in cells})
    return (
        f"measured {when}; commit {', '.join(commits) or 'unknown'}; "
        f"{counted(len({cell.test for cell in cells}), 'test')},"
        f" {counted(len({cell.topology for cell in cells}), 'topology', 'topologies')},"
        f" {counted(len(schedulers), 'scheduler')}: {', '.join(schedulers[:6])}"
    )


def _failure(failure: Failure, around: Surroundings, rank: int) -> FailureView:
    worst = failure.worst
    folder = around.store.folder(worst.input_digest) if worst.input_digest else None
    return FailureView(
        cell=worst,
        places=tuple(map(_place, failure.groups)),
        runs=sum(len(group.failing) for group in failure.groups),
        command=worst.command(around.called_as),
        sidecar=around.path(worst.path),
        files=around.path(folder) if folder is not None and folder.is_dir() else "",
        drawn=_drawn(worst, around) if rank < FAILED_TIMELINES else None,
    )


def _place(group: CellGroup) -> FailedPlace:
    """``2 of 7 seeds fail: 0, 3``, with the word of each verdict where there are several."""
    parts = []
    for outcome in COUNTED:
        seeds = [cell.seed for cell in group.failing if cell.verdict is outcome]
        if seeds:
            of = f" of {len(group.cells)}" if len(group.cells) > 1 else ""
            parts.append(f"{len(seeds)}{of} {outcome.value}, {'seed' if len(seeds) == 1 else 'seeds'} {render(seeds)}")
    return FailedPlace(group.key.test, group.key.preset, "; ".join(parts))


def _largest_gaps(cells: Sequence[Cell], around: Surroundings) -> tuple[DrawnTimeline, ...]:
    """Of what passed, one for each group, the largest gap first."""
    passed = [cell for cell in cells if cell.verdict is Outcome.PASS and "worst_gap_ms" in cell.metrics]
    passed.sort(key=lambda cell: (-cell.metrics["worst_gap_ms"], cell.name))
    by_group = {cell.group: cell for cell in reversed(passed)}
    chosen = sorted(by_group.values(), key=passed.index)[:OTHER_TIMELINES]
    return tuple(drawn for cell in chosen if (drawn := _drawn(cell, around)) is not None)


def _drawn(cell: Cell, around: Surroundings) -> DrawnTimeline | None:
    try:
        sidecar = read_sidecar(cell.path)
    except KtstrError:  # it went since it was listed
        return None
    line = timeline_of(sidecar, _record(cell, around.store))
    return None if line is None else drawn_timeline(cell.name, line)


def _record(cell: Cell, store: CellStore) -> GuestRecord | None:
    """What the guest reported, where the store still has it and it can be read."""
    if cell.input_digest is None:
        return None
    try:
        record = store.read(cell.input_digest)
    except KtstrError:
        return None
    return None if record is None else record.guest
