"""The comparison of averages as the result of a ``perf_delta`` that ran nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ktstr.record.metrics import METRICS
from ktstr.results.baseline import Sides
from ktstr.stats.compare.engine import Comparison
from ktstr.stats.compare.findings import Finding as Averaged
from ktstr.stats.compare.gate import Change, Gate
from ktstr.stats.inference.verdicts import MetricVerdict, Word
from ktstr.stats.perf.judge import failures_of
from ktstr.stats.perf.result import Finding, PerfDelta
from ktstr.stats.perf.samples import better

_WORDS = {
    Change.REGRESSION: Word.REGRESSED,
    Change.IMPROVEMENT: Word.IMPROVED,
    Change.INFORMATIONAL: Word.INFORMATIONAL,
}


def result_of_averages(found: Comparison, sides: Sides, gate: Gate, notes: Sequence[str]) -> PerfDelta:
    """The result. Averages have no noise, so that a shift has no interval and nothing is undecided."""
    findings = tuple(_finding(one, found, gate) for one in found.findings)
    return PerfDelta(
        baseline=sides.base.label,
        head=sides.head.label,
        chosen=sides.how,
        rule=None,
        runs=max(found.a_runs, found.b_runs),
        scenarios=sum(group.a is not None and group.b is not None for group in found.groups),
        findings=findings,
        failures=tuple(failures_of(findings, gate)),
        notes=(
            *notes,
            f"{found.unchanged} metric(s) unchanged",
            *([f"{found.excluded_pairs} pair(s) excluded"] if found.excluded_pairs else []),
        ),
        cutoff=gate.fail_threshold,
    )


def _finding(one: Averaged, found: Comparison, gate: Gate) -> Finding:
    group = next(group for group in found.groups if group.key == one.key)
    counts = [0 if tally is None else tally.passes for tally in (group.a, group.b)]
    verdict = MetricVerdict(
        scenario=one.key.label, metric=one.metric, word=_WORDS[one.change], n_a=counts[0], n_b=counts[1],
        center_a=one.a, center_b=one.b, low_a=None, high_a=None, low_b=None, high_b=None, spread_a=None, spread_b=None,
        shift=one.delta, ci_low=None, ci_high=None, floor=None, p=None, q=None, more=None, declared=False,
        high_spread=False,
    )  # fmt: skip
    return Finding(
        test=one.scenario,
        verdict=verdict,
        unit=METRICS[one.metric].display_unit,
        better=better(one.metric, None),
        must_fail=one.metric in gate.must_fail,
    )
