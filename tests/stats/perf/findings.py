"""Verdicts and results for tests of what is written about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.stats.inference.verdicts import MetricVerdict, Rule, Word
from ktstr.stats.perf.result import Divergence, Excluded, Finding, PerfDelta, Unevaluated

VERDICT = MetricVerdict(
    scenario="pipe/tiny/7.2/mine", metric="iteration_rate", word=Word.REGRESSED, n_a=10, n_b=10, center_a=1000.0,
    center_b=900.0, low_a=980.0, high_a=1020.0, low_b=880.0, high_b=920.0, spread_a=4.0, spread_b=4.4444,
    shift=-100.0, ci_low=-120.0, ci_high=-80.0, floor=50.0, p=0.0001, q=0.001, more=None, declared=False,
    high_spread=False,
)  # fmt: skip


def gate(metric: str = "iteration_rate", **changes: Any) -> PerfDeltaAssertion:
    whole = {"direction": None, "max_regression_pct": None, "min_abs": None, "phase": None, **changes}
    return PerfDeltaAssertion(metric=metric, **whole)


def finding(word: Word = Word.REGRESSED, *, unit: str = "iter/s", **changes: Any) -> Finding:
    """A finding; ``changes`` to the verdict, but for fields of the finding itself."""
    own = {key: changes.pop(key) for key in ("gate", "must_fail", "phase", "better", "phase_label") if key in changes}
    whole = {"better": "higher", **own}
    return Finding("pipe", replace(VERDICT, word=word, **changes), unit, **whole)


def result(*findings: Finding, **changes: Any) -> PerfDelta:
    whole: dict[str, Any] = {
        "baseline": "1234567", "head": "abcdef0-dirty", "chosen": "merge-base with main", "rule": Rule.RANKS,
        "runs": 10, "scenarios": 1, "findings": findings, **changes,
    }  # fmt: skip
    return PerfDelta(**whole)


FULL = result(
    finding(gate=gate(max_regression_pct=5)),
    finding(
        Word.UNDECIDED, unit="µs", metric="worst_run_delay_us", center_a=200.0, center_b=212.5, shift=12.5, ci_low=-3.0,
        ci_high=20.0, more=6, better="lower", high_spread=True,
    ),
    finding(Word.SAME, metric="worst_spread", unit="%", shift=0.0, ci_low=-0.1, ci_high=0.1, better="lower"),
    finding(Word.IMPROVED, metric="worst_gap_ms", unit="ms", scenario="steady/tiny/7.2/mine", n_b=8, better="lower"),
    finding(
        Word.REGRESSED, phase=1, metric="worst_spread", phase_label="Step[0]", shift=None, ci_low=None, ci_high=None
    ),
    same_cells=tuple(f"steady/tiny/7.2/eevdf/icount-s{seed}" for seed in range(7)),
    excluded=(Excluded("a", 10, skipped=1, failed=1), Excluded("b", 8)),
    unevaluated=(Unevaluated("pipe", gate("worst_page_locality", phase=2), "measured on neither side"),),
    divergences=(Divergence("pipe/tiny/7.2/mine/icount-s1", 12.3456, "CPU 0 runs pipe:3", "CPU 1 runs pipe:3"),),
    failures=("pipe/tiny/7.2/mine: iteration_rate regressed",),
    notes=("the working tree is dirty",),
    stopped_after=4,
)  # fmt: skip
