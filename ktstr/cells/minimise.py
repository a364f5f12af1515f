"""Which few of a failing seed's changes are enough for its failure: found by running the cell with fewer of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ktstr.cells.cells import Cells
from ktstr.cells.goals import sidecar_of
from ktstr.planning.parts import count_changes, part_of
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan
from ktstr.record.exploration import Minimal
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome
from ktstr.scenarios.ddmin import Subset, ddmin


@dataclass(frozen=True)
class Found:
    """What is left of a seed's ``changes``, and how sure that is (``record.exploration.Minimised``). ``cell`` makes
    these alone. ``runs``: cells that were run for it, or stood from before."""

    result: Minimal
    changes: int
    kept: Subset
    cell: CellPlan
    outcome: CellOutcome | None
    runs: int


def kinds_of(outcome: CellOutcome) -> frozenset[str]:
    """For which kinds of reason a cell fails; empty for one that does not."""
    sidecar = sidecar_of(outcome) if outcome.verdict == Outcome.FAIL else None
    return frozenset() if sidecar is None else frozenset(r.kind for r in sidecar.reasons if r.verdict == "fail")


@dataclass
class Minimiser:
    """Runs parts of one failing cell, ``jobs`` at once and at most ``runs`` in all. ``failure``: what came of it."""

    plan: Plan
    cells: Cells
    failure: CellOutcome
    jobs: int
    runs: int
    _known: dict[str, CellOutcome] = field(default_factory=dict)  # by the digest of their inputs
    _is_over: bool = False

    def minimise(self, cell: CellPlan) -> Found:
        """What of the cell's changes is needed. Ends early, with what is known by then, when cancelled or when no more
        runs are allowed."""
        every = tuple(range(count_changes(cell)))
        try:
            return self._minimise(cell, every)
        finally:
            self.plan.request.progress.close()

    def _minimise(self, cell: CellPlan, every: Subset) -> Found:
        self._known[cell.input_digest] = self.failure  # with all of them it is that cell
        if self._first(cell, [()]) is not None:
            return self._found("none_needed", cell, every, ())
        left, search = every, ddmin(every)
        try:
            candidates = next(search)
            while not self._is_over:
                first = self._first(cell, candidates)
                if first is not None:
                    left = candidates[first]
                    self._tell(cell, left, every)
                elif self._is_over:
                    break
                candidates = search.send(first)
        except StopIteration as end:
            left = end.value
            return self._found("all" if left == every else "minimal", cell, every, left)
        return self._found("cut_short", cell, every, left)

    def _tell(self, cell: CellPlan, left: Subset, every: Subset) -> None:
        self.plan.request.progress.step(
            f"{cell.name}: fails with {len(left)} of its {len(every)} changes ({self._ran} of at most {self.runs} runs)"
        )

    def _found(self, result: Minimal, cell: CellPlan, every: Subset, kept: Subset) -> Found:
        part = self._part(cell, kept)
        outcome = self._known.get(part.input_digest)
        return Found(result, len(every), kept, part, outcome, self._ran)

    @property
    def _ran(self) -> int:
        return len(self._known) - 1  # without the failure

    def _part(self, cell: CellPlan, keep: Subset) -> CellPlan:
        assert self.plan.machine is not None, "a plan with cells has a machine"
        return part_of(cell, keep, self.plan.machine)

    def _first(self, cell: CellPlan, candidates: Sequence[Subset]) -> int | None:
        """The place of the first with which it fails as it did; None where it does with none, or that is not known."""
        parts = [self._part(cell, keep) for keep in candidates]
        with ThreadPoolExecutor(self.jobs) as pool:
            for some in self._waves(parts):
                self._known.update(self._run(pool, some))
                first = self._first_known(parts)
                if first is not None or self._is_over:
                    return first
        return self._first_known(parts)

    def _first_known(self, parts: Sequence[CellPlan]) -> int | None:
        """The first that fails, if what comes before it is known."""
        for at, part in enumerate(parts):
            outcome = self._known.get(part.input_digest)
            if outcome is None:
                return None
            if not kinds_of(self.failure).isdisjoint(kinds_of(outcome)):
                return at
        return None

    def _waves(self, parts: Sequence[CellPlan]) -> Iterator[list[CellPlan]]:
        """Those that are not known yet, as many at once as may run; none once the runs are used up."""
        fresh = list({part.input_digest: part for part in parts if part.input_digest not in self._known}.values())
        for start in range(0, len(fresh), self.jobs):
            some = fresh[start : start + self.jobs][: max(0, self.runs - self._ran)]
            self._is_over |= len(some) < len(fresh[start : start + self.jobs])
            yield some

    def _run(self, pool: ThreadPoolExecutor, some: Sequence[CellPlan]) -> Mapping[str, CellOutcome]:
        outcomes = list(pool.map(self.cells.outcome, some))
        self._is_over |= None in outcomes  # cancelled
        return {part.input_digest: came for part, came in zip(some, outcomes, strict=True) if came is not None}
