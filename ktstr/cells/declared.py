"""The cells of declared tests with what came of them: what comparisons and goals are made of, whoever ran the cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.config.model import CellKey, TestDecl
from ktstr.planning.plan import Plan
from ktstr.planning.request import Narrowing
from ktstr.results.ledger import CellOutcome


@dataclass(frozen=True)
class DeclaredRun:
    """A cell of a test, and what came of it. ``kernel`` is a label."""

    test: TestDecl
    preset: str
    kernel: str
    scheduler: str
    accel: str
    seed: int
    outcome: CellOutcome


def run_of(test: TestDecl, key: CellKey, kernel: str, accel: str, outcome: CellOutcome) -> DeclaredRun:
    """A cell by its key. ``kernel`` is a label."""
    return DeclaredRun(test, key.preset, kernel, key.scheduler, accel, key.seed, outcome)


def declared_runs(plan: Plan, outcomes: Sequence[CellOutcome]) -> list[DeclaredRun]:
    """The cells of a plan, of tests that compare or set goals, that something came of; in its order."""
    cells = [cell for cell in plan.cells if cell.point.test.compare or cell.point.test.perf_delta]
    if not cells:
        return []
    known = {outcome.name: outcome for outcome in outcomes}
    return [
        run_of(cell.point.test, cell.key, cell.kernel.label, cell.accel, known[cell.name])
        for cell in cells
        if cell.name in known
    ]


def why_partial(narrowing: Narrowing) -> str:
    """Why some cells of a test may be missing; empty when none are."""
    if narrowing == Narrowing():
        return ""
    from ktstr.planning.shards import narrowed_by

    part = partial_by(narrowed_by(narrowing))
    return part or f"shard={narrowing.shard} selects a part of their cells; doit merge judges them"


def partial_by(narrowed: str) -> str:
    """The same, of what else than ``shard=`` narrowed the selection."""
    return f"{narrowed} selects a part of their cells" if narrowed else ""
