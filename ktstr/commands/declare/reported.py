"""What is said of cells that were run, here or by shards: the table or JSON, JUnit, comparisons and goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Invocation, Report
from ktstr.commands.declare.ended import called_as, write_junit
from ktstr.errors import HostError
from ktstr.results.ledger import ExitRules, Ledger

if TYPE_CHECKING:
    from ktstr.cells.comparisons import Comparisons
    from ktstr.cells.declared import DeclaredRun
    from ktstr.results import summary


@dataclass(frozen=True)
class Saying:
    """How it is said, and by which rules. ``partial``: why comparisons and goals may miss some of their cells; empty
    when they do not. ``interrupted``: not all cells got to run."""

    json: bool
    verbose: bool
    junit: str | None
    rules: ExitRules
    partial: str
    interrupted: bool

    @property
    def why_not_judged(self) -> str:
        """Why nothing is said of several cells together: half of the seeds would say another thing than all."""
        return "interrupted" if self.interrupted else self.partial


def report_of(
    invocation: Invocation, saying: Saying, cells: Sequence[summary.CellSummary], declared: Sequence[DeclaredRun]
) -> Report:
    """The report's text, and the code of the comparisons. Writes the JUnit file."""
    from ktstr.results import summary

    compared = _compared(invocation, saying, declared)
    if saying.junit is not None:
        _write_junit(invocation, saying.junit, cells, compared)
    code = 0 if compared is None else compared.code(saying.rules)
    if saying.json:
        findings = _findings(saying, declared, compared)
        return Report(summary.to_json(cells, findings, interrupted=saying.interrupted), code)
    text = summary.table(cells, verbose=saying.verbose, interrupted=saying.interrupted, replay=f"{called_as()} replay")
    compared_text = _not_compared(saying, declared) if compared is None else compared.text(verbose=saying.verbose)
    return Report(text + _all_skipped(invocation.ledger) + compared_text, code)


def _compared(invocation: Invocation, saying: Saying, declared: Sequence[DeclaredRun]) -> Comparisons | None:
    """The comparisons of two schedulers; None without a test that compares, where some of their cells may be missing,
    or without what statistics need."""
    if saying.why_not_judged or not any(cell.test.compare for cell in declared):
        return None
    from ktstr.stats.needs import need_reports

    try:
        need_reports()
    except HostError as err:
        invocation.ledger.fail("compare", err)
        return None
    from ktstr.cells.comparisons import comparisons_of  # imports scipy

    return comparisons_of(declared)


def _not_compared(saying: Saying, declared: Sequence[DeclaredRun]) -> str:
    tests = dict.fromkeys(cell.test.name for cell in declared if cell.test.compare)
    if not tests or not saying.why_not_judged:
        return ""
    return f"\ncompare: {', '.join(tests)} not judged: {saying.why_not_judged}\n"


def _findings(saying: Saying, declared: Sequence[DeclaredRun], compared: Comparisons | None) -> summary.Findings:
    from ktstr.results.summary import Findings

    documents = () if compared is None else compared.documents()
    if saying.why_not_judged or not any(cell.test.perf_delta for cell in declared):
        return Findings(comparisons=documents)
    from ktstr.cells.goals import goals_of  # reads sidecars: only for what declares goals

    return Findings([asdict(goal) for goal in goals_of(declared)], documents)


def _write_junit(
    invocation: Invocation, target: str, cells: Sequence[summary.CellSummary], compared: Comparisons | None
) -> None:
    from ktstr.results.junit import junit

    write_junit(invocation, target, junit(cells, () if compared is None else compared.cases()))


def _all_skipped(ledger: Ledger) -> str:
    return f"EVERY CELL WAS SKIPPED ({len(ledger.outcomes)}): nothing was tested\n" if ledger.all_skipped() else ""
