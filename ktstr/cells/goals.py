"""The goals of cells that were run, and their runs as what reads their numbers has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ktstr.cells.declared import DeclaredRun
from ktstr.cells.judge import gates
from ktstr.errors import InputError
from ktstr.record.sidecar import Sidecar
from ktstr.results.ledger import CellOutcome
from ktstr.results.sidecar import read_sidecar
from ktstr.stats.perf.goals import Goal, goals
from ktstr.stats.perf.samples import CellRun


def goals_of(declared: Iterable[DeclaredRun]) -> list[Goal]:
    """The goals of every test that declares limits, in the order of the cells."""
    cells = [cell for cell in declared if cell.test.perf_delta]
    tests = {cell.test.name: cell.test for cell in cells}
    runs = [cell_run(cell) for cell in cells]
    found = (goals((run for run in runs if run.test == name), gates(test)) for name, test in tests.items())
    return [goal for some in found for goal in some]


def cell_run(cell: DeclaredRun) -> CellRun:
    """The cell as what reads its numbers has it, with its sidecar."""
    return CellRun(
        test=cell.test.name,
        preset=cell.preset,
        kernel=cell.kernel,
        scheduler=cell.scheduler,
        accel=cell.accel,
        seed=cell.seed,
        verdict=cell.outcome.verdict,
        sidecar=sidecar_of(cell.outcome),
    )


def sidecar_of(outcome: CellOutcome) -> Sidecar | None:
    """What came of a cell, whether it ran now or stands as it was; None where nothing was measured."""
    if outcome.standing is None:
        return outcome.sidecar
    try:
        return read_sidecar(Path(outcome.standing.path))
    except InputError:
        return outcome.standing.build()
