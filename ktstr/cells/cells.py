"""The cells of one plan, as the graph runs them. What an earlier run left as it was costs a look, and no import."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.cells.remembered import Remembered
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan, ParkedPlan
from ktstr.results.ledger import CellOutcome, Ledger

if TYPE_CHECKING:
    from ktstr.cells.job import JobRunner
    from ktstr.cells.measure import Bench
    from ktstr.record.cell import CellRecord
    from ktstr.record.sidecar import Sidecar


class Cells:
    """Runs the cells of ``plan``; what came of them goes to ``ledger``. Safe from any thread.

    A cell never fails as a task: what the environment cannot do is an outcome too. ``is_over``: whether no more of
    them are to be started. ``times``: how often each one that runs does. ``jobs``: who runs them, None for this host.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        remembered: Remembered,
        is_over: Callable[[], bool] = lambda: False,
        times: int = 1,
        jobs: JobRunner | None = None,
    ) -> None:
        self._plan, self._ledger, self._remembered, self._is_over = plan, ledger, remembered, is_over
        self._times, self._jobs = times, jobs
        self._stands: dict[str, bool] = {}
        self._repeats: dict[str, list[CellOutcome]] = {}

    def stands(self, cell: CellPlan) -> bool:
        """Whether an earlier run left nothing to do for this cell; its outcome goes to the ledger if so.

        Nothing that the cell would run on has to be there: no kernel, no image.
        """
        if cell.name not in self._stands:
            self._stands[cell.name] = self._look(cell)
        return self._stands[cell.name]

    def _look(self, cell: CellPlan) -> bool:
        if self._plan.request.options.running.rerun or self._is_over():
            return False
        outcome = self._remembered.find(cell, partial(self._sidecar, cell)) or self._bench.rejudged(cell)
        if outcome is None:
            return False
        self._tell(outcome)
        return True

    def why(self, cell: CellPlan) -> str:
        """Why the cell would run, for ``dry_run=1``."""
        if self._plan.request.options.running.rerun:
            return "run: rerun=1"
        if self._remembered.find(cell, partial(self._sidecar, cell)) is not None:
            return "up to date"
        return self._bench.why(cell)

    def run(self, cell: CellPlan) -> None:
        """Measure, judge, write the sidecar, and tell the ledger; errors come to it the same way.

        Of several runs the ledger is told the one that is kept: the last that did not pass, else the first.
        """
        runs = self._repeats.setdefault(cell.name, [])
        while len(runs) < self._times and not self._is_over():
            outcome = self._bench.again(cell) if runs else self._bench.run(cell)
            if outcome is None:
                break
            runs.append(outcome)
        if runs:
            self._tell(next((outcome for outcome in reversed(runs) if outcome.failed), runs[0]))

    def runs(self, cell: CellPlan) -> tuple[CellOutcome, ...]:
        """What came of each run of a cell, where it ran now."""
        return tuple(self._repeats.get(cell.name, ()))

    def outcome(self, cell: CellPlan) -> CellOutcome | None:
        """What comes of a cell that is none of the plan's, though its point is: run unless it stands. Nobody is told.
        None when the run was cancelled."""
        return self._bench.run(cell)

    def park(self, cell: CellPlan) -> None:
        """Make the machine that this cell and others are clones of. Raises HostError where the host cannot."""
        if not self._is_over():
            self._bench.park(cell)

    @property
    def parks(self) -> bool:
        """Whether machines are made here, ahead of the cells that are clones of them. Workers make their own."""
        return self._jobs is None

    def is_parked(self, parked: ParkedPlan) -> bool:
        """Whether that machine was made."""
        return self._bench.is_parked(parked)

    def snapshot_of(self, parked: ParkedPlan) -> Path:
        """The file that proves it made."""
        return self._bench.snapshot_of(parked)

    @cached_property
    def _bench(self) -> Bench:
        from ktstr.cells.measure import Bench  # records, judgement and sidecars: not for a run with nothing to do

        return Bench(self._plan, self._jobs, self._is_over)

    def record(self, cell: CellPlan) -> CellRecord | None:
        """What was measured of a cell; None where nothing is stored."""
        return self._bench.record(cell)

    def _sidecar(self, cell: CellPlan) -> Sidecar:
        return self._bench.sidecar(cell)

    def _tell(self, outcome: CellOutcome) -> None:
        self._ledger.record(outcome)
        self._plan.request.progress.cell_ended(outcome.end())
