"""What a comparison of two commits concludes from their runs."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ktstr.record.metric import Polarity
from ktstr.record.metrics import METRICS
from ktstr.record.sidecar import PayloadMetric, PayloadMetrics, PerfDeltaAssertion, Sidecar, TargetValue
from ktstr.stats.compare.gate import Gate
from ktstr.stats.compare.policy import Policy, uniform
from ktstr.stats.inference.verdicts import Rule, Word
from ktstr.stats.perf.judge import Judging, Tally, fisher, judge
from ktstr.stats.perf.result import Finding
from ktstr.stats.perf.scenarios import ScenarioRuns
from tests.stats.perf.runs import run

P99 = "worst_p99_wake_latency_us"
SLOW, FAST = (900.0, 910.0, 905.0, 920.0, 915.0, 890.0), (400.0, 410.0, 405.0, 420.0, 415.0, 390.0)


def side(values: tuple[float, ...], metric: str = P99, **changes: Any) -> tuple[Sidecar, ...]:
    """A run for each value, seeds from 1 on."""
    runs = (run(seed, **{metric: value}).sidecar for seed, value in enumerate(values, 1))
    return tuple(replace(whole, passed=True, inconclusive=False, skipped=False, **changes) for whole in runs if whole)


def gate(metric: str = P99, **limits: Any) -> PerfDeltaAssertion:
    nothing = {"direction": None, "max_regression_pct": None, "min_abs": None, "phase": None}
    return PerfDeltaAssertion(metric=metric, **{**nothing, **limits})


def scenario(a: tuple[Sidecar, ...], b: tuple[Sidecar, ...], *gates: PerfDeltaAssertion) -> ScenarioRuns:
    return ScenarioRuns("t", "t/tiny/7.2/mine", a, b, gates)


def found(runs: ScenarioRuns, how: Judging | None = None, metric: str = P99) -> Finding:
    return next(one for one in judge([runs], how or Judging()).findings if one.verdict.metric == metric)


def test_a_regression_fails_by_its_number_and_by_what_the_test_declares() -> None:
    plain = judge([scenario(side(FAST), side(SLOW))], Judging(gate=Gate(0)))
    assert [one.word for one in plain.findings if one.verdict.metric == P99] == [Word.REGRESSED]
    assert plain.failures == ()
    assert judge([scenario(side(FAST), side(SLOW))], Judging(gate=Gate(1))).failures == (
        "1 regressed (fail_threshold=1)",
    )
    assert judge([scenario(side(FAST), side(SLOW))], Judging(gate=Gate(2))).failures == ()
    declared = judge([scenario(side(FAST), side(SLOW), gate())], Judging(gate=Gate(0)))
    assert declared.failures == (f"t/tiny/7.2/mine: {P99} regressed, and its test declares it",)
    must = judge([scenario(side(FAST), side(SLOW))], Judging(gate=Gate(0, (P99,))))
    assert must.failures == (f"t/tiny/7.2/mine: {P99} regressed (must_fail=)",)
    assert judge([scenario(side(SLOW), side(FAST), gate())], Judging()).failures == ()


def test_what_the_user_says_counts_in_place_of_the_registry() -> None:
    runs = scenario(side((100.0,) * 6), side((104.0,) * 6))
    assert found(runs, metric=P99).word is Word.SAME  # 4 us are less than the metric's floor of 5
    runs = scenario(side((1000.0,) * 6), side((1040.0,) * 6))
    assert found(runs).word is Word.REGRESSED
    assert found(runs, Judging(policy=uniform(5))).word is Word.SAME
    own = Policy(default_percent=1.0, per_metric_percent={P99: 5.0})
    assert found(runs, Judging(policy=own)).word is Word.SAME
    assert found(scenario(runs.a, runs.b, gate(max_regression_pct=10.0))).word is Word.SAME
    assert found(scenario(runs.a, runs.b, gate(direction="HigherBetter"))).word is Word.IMPROVED


def test_the_welch_rule_keeps_the_registrys_own_gates() -> None:
    runs = scenario(side(tuple(1000.0 + n for n in range(6))), side(tuple(1040.0 + n for n in range(6))))
    assert found(runs).word is Word.REGRESSED
    assert found(runs, Judging(rule=Rule.WELCH)).word is Word.SAME  # 4 % is below 25 %


def test_runs_of_different_kinds_are_never_compared() -> None:
    booted, attached = (run(1, origin=kind, **{P99: 500.0}).sidecar for kind in ("booted", "attached"))
    assert booted is not None and attached is not None
    judged = judge([scenario((replace(booted, passed=True),), (replace(attached, passed=True),), gate())], Judging())
    assert judged.findings == ()
    assert [one.why for one in judged.unevaluated] == ["t/tiny/7.2/mine: no run that can be compared at the baseline"]
    assert judge([scenario(side(FAST, accel="icount"), side(SLOW, accel="kvm"))], Judging()).findings == ()


def test_runs_that_failed_are_counted_and_not_compared() -> None:
    bad = tuple(replace(one, passed=False) for one in side((1.0,)))
    runs = scenario(side(FAST) + bad, side(FAST))
    assert found(runs).verdict.n_a == len(FAST)
    a, b = runs.excluded()
    assert (a.runs, a.failed, a.comparable, b.failed) == (7, 1, 6, 0)


def test_a_scheduler_that_fails_its_checks_now_fails_the_comparison() -> None:
    bad = tuple(replace(one, passed=False) for one in side(FAST))
    judged = judge([scenario(side(FAST), bad)], Judging())
    assert judged.failures == ("t/tiny/7.2/mine: fails its checks in 6 of 6 runs at HEAD, in 0 of 6 before",)
    assert judge([scenario(bad, side(FAST))], Judging()).failures == ()
    assert judge([scenario(side(FAST), side(FAST[:5]) + bad[5:])], Judging()).failures == ()  # 1 of 6 may be chance


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [((0, 3), (3, 3), 1 / 20), ((0, 2), (2, 2), 1 / 6), ((1, 4), (3, 4), 17 / 70), ((0, 5), (0, 5), 1.0)],
)
def test_fishers_exact_test(a: tuple[int, int], b: tuple[int, int], p: float) -> None:
    assert fisher(Tally(*a), Tally(*b)) == pytest.approx(p)


def test_identical_results_are_the_same_however_few() -> None:
    runs = scenario(side((500.0,)), side((500.0,)))
    assert runs.is_identical
    assert {one.word for one in judge([runs], Judging()).findings} <= {Word.SAME, Word.INFORMATIONAL}
    assert not scenario(side((500.0,)), side((501.0,))).is_identical
    assert not scenario(side((500.0,), accel="kvm"), side((500.0,), accel="kvm")).is_identical


def test_rates_by_cpu_time_are_informational_under_counted_instructions() -> None:
    metric = "iterations_per_cpu_sec"
    assert METRICS[metric].polarity == "HigherBetter"
    runs = scenario(side(SLOW, metric), side(FAST, metric))
    assert found(runs, metric=metric).word is Word.INFORMATIONAL
    real = scenario(side(SLOW, metric, accel="kvm"), side(FAST, metric, accel="kvm"))
    assert found(real, metric=metric).word is Word.REGRESSED
    assert found(scenario(runs.a, runs.b, gate(metric)), metric=metric).word is Word.REGRESSED


def test_a_gate_that_cannot_be_judged_says_why() -> None:
    few = judge([scenario(side(FAST[:2]), side(SLOW[:2]), gate())], Judging())
    assert few.unevaluated[0].why.startswith("t/tiny/7.2/mine: undecided, about ")
    missing = judge([scenario(side(FAST), side(SLOW), gate("worst_page_locality"))], Judging())
    assert missing.unevaluated[0].why == "t/tiny/7.2/mine: not measured on both sides"
    phase = judge([scenario(side(FAST), side(SLOW), gate("iteration_rate", phase=7))], Judging(phases=False))
    assert "phases are not compared" in phase.unevaluated[0].why


def test_a_declared_limit_of_a_phase_fails_where_the_phase_regressed() -> None:
    metric = "iteration_rate"
    runs = scenario(side(SLOW, metric), side(FAST, metric), gate(metric, phase=1))
    judged = judge([runs], Judging(gate=Gate(0)))
    assert [one.word for one in judged.findings if one.phase == 1] == [Word.REGRESSED]
    assert judged.failures == (f"t/tiny/7.2/mine: {metric} regressed, and its test declares it",)


def printed(values: tuple[float, ...], polarity: Polarity | TargetValue, unit: str = "1/s") -> tuple[Sidecar, ...]:
    """Runs whose payload printed these numbers under a name that suggests that higher is worse."""
    runs = side((1.0,) * len(values))
    return tuple(
        replace(run, metrics=(PayloadMetrics(0, 0, (PayloadMetric(LAG, value, polarity, unit, "Json", "Stdout"),)),))
        for run, value in zip(runs, values, strict=True)
    )


LAG = "bench.delay"


@pytest.mark.parametrize(
    ("polarity", "word", "better"),
    [
        ("HigherBetter", Word.IMPROVED, "higher"),
        ("LowerBetter", Word.REGRESSED, "lower"),
        ("Unknown", Word.REGRESSED, "lower"),
        (TargetValue(5.0), None, None),
    ],
)
def test_a_payloads_metric_is_better_where_it_is_declared_to_be(
    polarity: Polarity | TargetValue, word: Word | None, better: str | None
) -> None:
    one = found(scenario(printed(FAST, polarity), printed(SLOW, polarity)), metric=LAG)
    assert (one.better, one.unit) == (better, "1/s")
    assert one.word is word if word is not None else one.word not in (Word.REGRESSED, Word.IMPROVED)
