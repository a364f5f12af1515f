"""What came of a run: the outcome of each cell, and the failures of everything else. It makes the exit code."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ktstr.errors import EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_OK, EXIT_VERDICT, KtstrError
from ktstr.progress import CellEnd
from ktstr.record.outcome import UNSUCCESSFUL, Outcome

if TYPE_CHECKING:
    from ktstr.record.sidecar import Sidecar
    from ktstr.results.view import Standing

PRECEDENCE = (EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_VERDICT)
# git-bisect(1): 0 is a good commit, 125 one that cannot be tested, 1 to 127 a bad one, and 128 and above stop the
# bisection. So only a verdict may give 1, and what is no fact about the commit must stop it.
GOOD, BAD, UNTESTABLE, ABORT = 0, 1, 125, 128
# What these tasks make depends on the commit under test; of the others, nothing does.
_OF_THE_COMMIT = frozenset({"source", "kernel", "scheduler", "image", "cell"})


@dataclass(frozen=True)
class CellOutcome:
    """What came of one planned cell. ``ran`` is False when a stored result was good; ``seconds`` of host time.

    ``lasting``: the same inputs need not run again. ``standing`` takes the place of ``sidecar`` when the
    published one is as it was left. ``error``: why there is no verdict, with its exit code; None for a verdict.
    """

    name: str
    verdict: str
    reasons: tuple[str, ...]
    ran: bool = False
    seconds: float | None = None
    sidecar: Sidecar | None = None
    path: str | None = None
    files: tuple[str, ...] = ()
    lasting: bool = False
    standing: Standing | None = None
    error: KtstrError | None = None

    @property
    def failed(self) -> bool:
        return self.verdict in UNSUCCESSFUL

    def end(self) -> CellEnd:
        """What progress says of it."""
        return CellEnd(self.name, self.verdict, self.failed, self.ran, self.seconds)


def failure(name: str, error: KtstrError) -> CellOutcome:
    """The outcome of a cell that could not be run."""
    return CellOutcome(name, Outcome.ERROR, (str(error),), error=error)


def did_pass(outcomes: Iterable[CellOutcome]) -> list[str]:
    """The names of those that ran, and did not fail; or that are not to be run."""
    return [outcome.name for outcome in outcomes if not outcome.failed and outcome.verdict != Outcome.NOT_RUN]


@dataclass(frozen=True)
class ExitRules:
    """What of a run the user lets pass, and in whose language the exit code is. ``verdicts``: whether those of cells
    are in it; where cells are only measured for a comparison, they are not."""

    verdicts: bool = True
    allow_inconclusive: bool = False
    no_skip: bool = False
    bisect: bool = False


@dataclass
class Ledger:
    """Filled by whoever runs cells and tasks, from any thread."""

    outcomes: dict[str, CellOutcome] = field(default_factory=dict)
    failures: dict[str, KtstrError] = field(default_factory=dict)
    _notes: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, outcome: CellOutcome) -> None:
        """What came of a cell; a later word on the same cell replaces an earlier one."""
        with self._lock:
            self.outcomes[outcome.name] = outcome

    def fail(self, task: str, error: KtstrError) -> None:
        """A task that is not a cell could not be done."""
        with self._lock:
            self.failures[task] = error

    def note(self, code: int) -> None:
        """A report's own finding, as the code that it alone would exit with."""
        with self._lock:
            self._notes.add(code)

    def failed_cells(self) -> int:
        """How many cells did not pass, so far."""
        with self._lock:
            return sum(outcome.failed for outcome in self.outcomes.values())

    def cause(self, tasks: Iterable[str]) -> KtstrError | None:
        """The first failure among ``tasks``."""
        return next((self.failures[task] for task in tasks if task in self.failures), None)

    def exit_code(self, rules: ExitRules, signal: int = 0) -> int:
        """2 before 3 before 1 before 0; an interruption is 128 plus its signal; with ``bisect`` as git wants it."""
        if signal:
            return 128 + signal
        if rules.bisect:
            return self._bisect_code()
        codes = {*self._notes, *(err.exit_code for err in self.failures.values())}
        codes |= {_cell_code(outcome, rules) for outcome in self.outcomes.values()}
        if rules.no_skip and self.all_skipped():
            codes.add(EXIT_ENVIRONMENT)
        return next((code for code in PRECEDENCE if code in codes), EXIT_OK)

    def all_skipped(self) -> bool:
        """Whether there were cells, and not one of them ran."""
        return bool(self.outcomes) and all(outcome.verdict == Outcome.SKIP for outcome in self.outcomes.values())

    def _bisect_code(self) -> int:
        """0 when all passed, 1 when a cell or a comparison failed, 125 when the kernel cannot be judged, else 128."""
        verdicts = _verdicts(self.outcomes)
        if Outcome.FAIL in verdicts or EXIT_VERDICT in self._notes:
            return BAD
        if any(task.partition(":")[0] not in _OF_THE_COMMIT for task in self.failures):
            return ABORT
        passed = bool(verdicts) and UNTESTABLE not in self._notes
        passed = passed and all(verdict == Outcome.PASS for verdict in verdicts)
        return GOOD if passed and not self.failures else UNTESTABLE


def _verdicts(outcomes: Mapping[str, CellOutcome]) -> list[str]:
    """Of the cells that the test's constraints let run."""
    return [outcome.verdict for outcome in outcomes.values() if outcome.verdict != Outcome.SKIP]


def _cell_code(outcome: CellOutcome, rules: ExitRules) -> int:
    if outcome.error is not None:
        return outcome.error.exit_code
    if outcome.verdict == Outcome.INCONCLUSIVE:
        return EXIT_OK if rules.allow_inconclusive or not rules.verdicts else EXIT_VERDICT
    if outcome.verdict == Outcome.FAIL:
        return EXIT_VERDICT if rules.verdicts else EXIT_OK
    return EXIT_ENVIRONMENT if outcome.verdict == Outcome.ERROR else EXIT_OK
