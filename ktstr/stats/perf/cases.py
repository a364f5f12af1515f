"""``perf_delta``'s gates as JUnit cases: one for each scenario and metric that may fail the comparison."""

from __future__ import annotations

from ktstr.record.outcome import Outcome
from ktstr.results.junit import Case, document
from ktstr.stats.inference.verdicts import Word
from ktstr.stats.perf.result import Finding, PerfDelta, Unevaluated
from ktstr.stats.perf.text import gate_text, number, shift_text, verdict_text

_OUTCOMES = {
    Word.REGRESSED: Outcome.FAIL, Word.IMPROVED: Outcome.PASS, Word.SAME: Outcome.PASS,
    Word.INFORMATIONAL: Outcome.PASS, Word.UNDECIDED: Outcome.SKIP, Word.NOISY: Outcome.SKIP,
}  # fmt: skip


def cases(result: PerfDelta) -> tuple[Case, ...]:
    """A case for each gate, and one for the whole. What is undecided or was not evaluated is skipped, and says so."""
    whole = Case(result.title, "overall", Outcome.FAIL if result.failed else Outcome.PASS, result.failures)
    return (*gate_cases(result), whole)


def junit(result: PerfDelta) -> str:
    """The cases as JUnit XML."""
    return document(cases(result))


def gate_cases(result: PerfDelta) -> tuple[Case, ...]:
    """A case for each gate alone."""
    judged = (_case(finding, result) for finding in result.findings if finding.gates)
    return (*judged, *map(_not_evaluated, result.unevaluated))


def _case(finding: Finding, result: PerfDelta) -> Case:
    v = finding.verdict
    numbers = f"A {number(v.center_a)}, B {number(v.center_b)} {finding.unit}".rstrip()
    lines = (f"{verdict_text(finding, result.rule)}: {numbers}, shift {shift_text(finding)}",)
    return Case(v.scenario, _name(v.metric, finding.phase), _OUTCOMES[v.word], lines)


def _not_evaluated(one: Unevaluated) -> Case:
    lines = (f"not evaluated: {one.why} ({gate_text(one.gate)})",)
    return Case(one.test, _name(one.gate.metric, one.gate.phase), Outcome.SKIP, lines)


def _name(metric: str, phase: int | None) -> str:
    return metric if phase is None else f"{metric} (phase {phase})"
