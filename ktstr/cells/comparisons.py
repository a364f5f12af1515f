"""The comparisons of two schedulers in cells that were run.

Imports scipy: it is for runs with a test that compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.cells.declared import DeclaredRun
from ktstr.cells.goals import cell_run
from ktstr.cells.judge import gates
from ktstr.config.model import TestDecl
from ktstr.errors import EXIT_OK, EXIT_VERDICT
from ktstr.record.outcome import Outcome
from ktstr.results.junit import Case
from ktstr.results.ledger import UNTESTABLE, ExitRules
from ktstr.stats.perf.cases import gate_cases
from ktstr.stats.perf.document import Document, document
from ktstr.stats.perf.duel import Comparison, Duel, compare
from ktstr.stats.perf.samples import CellRun
from ktstr.stats.perf.text import render

_OUTCOMES = {"pass": Outcome.PASS, "fail": Outcome.FAIL, "inconclusive": Outcome.INCONCLUSIVE}


@dataclass(frozen=True)
class Comparisons:
    """Every comparison of a run."""

    made: tuple[Comparison, ...] = ()

    def text(self, *, verbose: bool) -> str:
        """What ``doit test`` prints below its table: every declared limit; of other metrics those that moved, unless
        ``verbose``."""
        return "".join(_text(one, verbose) for one in self.made)

    def cases(self) -> tuple[Case, ...]:
        """A JUnit case for each declared gate, and one for each comparison."""
        return tuple(case for one in self.made for case in (*gate_cases(one.result), _whole(one)))

    def documents(self) -> list[Document]:
        """The comparisons for JSON."""
        return [{"test": one.test, "verdict": one.verdict, **document(one.result)} for one in self.made]

    def code(self, rules: ExitRules) -> int:
        """1 when a declared gate regressed, or could not be evaluated and that is not allowed; for a bisection such a
        commit is untestable."""
        verdicts = {one.verdict for one in self.made}
        if "fail" in verdicts:
            return EXIT_VERDICT
        if "inconclusive" not in verdicts:
            return EXIT_OK
        if rules.bisect:
            return UNTESTABLE
        return EXIT_OK if rules.allow_inconclusive else EXIT_VERDICT


def _text(one: Comparison, verbose: bool) -> str:
    declared = any(finding.gate is not None for finding in one.result.findings)
    table = render(one.result, all_metrics=verbose or declared, hint="verbose=1")
    return f"\n{table}comparison: {one.verdict.upper()}\n"


def _whole(one: Comparison) -> Case:
    result = one.result
    lines = result.failures or tuple(f"{left.gate.metric}: {left.why}" for left in result.unevaluated) or result.notes
    name = f"{result.head} against {result.baseline}"
    return Case(result.title, name, _OUTCOMES.get(one.verdict, Outcome.SKIP), lines)


def comparisons_of(declared: Iterable[DeclaredRun]) -> Comparisons:
    """Every test with ``compare:`` judged, all of them as one family."""
    cells = [cell for cell in declared if cell.test.compare]
    tests = {cell.test.name: cell.test for cell in cells}
    runs = [cell_run(cell) for cell in cells]
    duels = [_duel(test, [run for run in runs if run.test == name]) for name, test in tests.items()]
    return Comparisons(tuple(compare(duels)))


def _duel(test: TestDecl, runs: Sequence[CellRun]) -> Duel:
    mine, other = test.compare
    return Duel(test.name, mine, other, gates(test), tuple(runs))
