"""The goals of a plan that was run, and its cells' runs as what reads their numbers has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ktstr.cells.judge import gates
from ktstr.config.model import TestDecl
from ktstr.errors import InputError
from ktstr.planning.plan import Plan
from ktstr.record.sidecar import Sidecar
from ktstr.results.ledger import CellOutcome
from ktstr.results.sidecar import read_sidecar
from ktstr.stats.perf.goals import Goal, goals
from ktstr.stats.perf.samples import CellRun


def goals_of(plan: Plan, outcomes: Sequence[CellOutcome]) -> list[Goal]:
    """The goals of every planned test that declares limits, in the order of the plan."""
    runs = list(cell_runs(plan, outcomes, lambda test: bool(test.perf_delta)))
    tests = {cell.key.test: cell.point.test for cell in plan.cells if cell.point.test.perf_delta}
    found = (goals((run for run in runs if run.test == name), gates(test)) for name, test in tests.items())
    return [goal for some in found for goal in some]


def cell_runs(plan: Plan, outcomes: Sequence[CellOutcome], wanted: Callable[[TestDecl], bool]) -> Iterator[CellRun]:
    """The cells of the tests that are wanted, with their sidecars, in the order of the plan."""
    known = {outcome.name: outcome for outcome in outcomes}
    for cell in plan.cells:
        if wanted(cell.point.test) and cell.name in known:
            outcome, key = known[cell.name], cell.key
            yield CellRun(
                test=key.test,
                preset=key.preset,
                kernel=cell.point.kernel.label,
                scheduler=key.scheduler,
                accel=cell.point.accel,
                seed=key.seed,
                verdict=outcome.verdict,
                sidecar=sidecar_of(outcome),
            )


def sidecar_of(outcome: CellOutcome) -> Sidecar | None:
    """What came of a cell, whether it ran now or stands as it was; None where nothing was measured."""
    if outcome.standing is None:
        return outcome.sidecar
    try:
        return read_sidecar(Path(outcome.standing.path))
    except InputError:
        return outcome.standing.build()
