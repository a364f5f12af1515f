from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.record.metric import Distribution, Gauge, Rate
from ktstr.record.metrics import METRICS, RATES
from ktstr.stats.folds import Values, fold, fold_runs, pooled_rate, rule_of


def array(*values: float | None) -> Values:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


ONES = array(1, 1, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("worst_gap_ms", 30),  # a field, Peak: never averaged
        ("worst_spread", 20),  # fields: mean, whatever the kind
        ("worst_migration_ratio", 20),
        ("stuck_count", 20),
        ("total_iterations", 20),
        ("total_phase_iterations", 60),  # Counter
        ("total_run_delay", 60),
        ("system_time_ns", 20),  # PerPhaseDeltaSum
        ("max_avg_irq_util", 30),  # Peak
        ("avg_nr_running", 20),  # Gauge(Avg), equal weights
        ("worst_p99_wake_latency_us", 20),  # Distribution
        ("worst_run_delay_us", 30),  # Distribution(Worst)
        ("worst_iterations_per_worker", 20),  # WorstLowest
        ("worst_wake_latency_tail_ratio", 20),
        ("worst_cross_node_migration_ratio", 20),
        ("wakeup_p99_latency_us", None),  # PerPhase
        ("wakeup_p99_latency_us_whole", None),  # PerRunDistribution
        ("iteration_rate", None),  # a rate without its components
        ("jobs.0.read.iops", 20),  # not registered
    ],
)
def test_each_kind_folds_ten_twenty_and_thirty_as_documented(name: str, expected: float | None) -> None:
    assert fold_runs({name: array(10, 20, 30)}, ONES) == ({} if expected is None else {name: expected})


def test_counts_that_are_fields_have_a_rounded_mean_half_away_from_zero() -> None:
    values = {
        "total_migrations": array(200, 60, 1000, -60),
        "total_fallback": array(1, 2),
        "total_keep_last": -array(1, 2),
    }
    folded = {name: fold_runs({name: each}, np.ones(each.size)) for name, each in values.items()}
    assert folded == {
        "total_migrations": {"total_migrations": 300},
        "total_fallback": {"total_fallback": 2},
        "total_keep_last": {"total_keep_last": -2},
    }
    assert fold_runs({"stuck_count": array(1, 2)}, array(1, 1)) == {"stuck_count": 1.5}


def test_only_runs_that_have_a_metric_count() -> None:
    metrics = {"wl_key": array(10, None, 30), "total_pcount": array(None, 7, None), "none": array(None, None, None)}
    assert fold_runs(metrics, ONES) == {"wl_key": 20, "total_pcount": 7}


def test_averages_are_weighted_by_samples_and_plain_when_there_are_none() -> None:
    assert fold_runs({"avg_nr_running": array(1, 4)}, array(3, 1)) == {"avg_nr_running": 1.75}
    assert fold_runs({"avg_nr_running": array(1, 4)}, array(0, 0)) == {"avg_nr_running": 2.5}
    assert fold_runs({"avg_nr_running": array(None, 4)}, array(9, 0)) == {"avg_nr_running": 4}


def test_a_rate_is_the_sum_by_the_sum_and_not_the_mean_of_rates() -> None:
    metrics = {
        "total_phase_iterations": array(100, 900),
        "total_phase_duration_sec": array(1, 3),
        "iteration_rate": array(100, 300),
    }
    assert fold_runs(metrics, array(1, 1))["iteration_rate"] == 250  # not 200
    without = {name: values for name, values in metrics.items() if name != "total_phase_duration_sec"}
    assert "iteration_rate" not in fold_runs(without, array(1, 1))
    assert "iteration_rate" not in fold_runs(metrics | {"total_phase_duration_sec": array(0, 0)}, array(1, 1))


def test_a_run_with_half_of_a_rate_is_no_part_of_it() -> None:
    assert pooled_rate(array(100, 900, 5), array(1, 3, None)) == 250
    assert pooled_rate(array(None), array(2)) is None
    assert pooled_rate(array(1e308, 1e308), array(1, 1)) is None


def test_every_registered_metric_has_a_rule_unless_its_kind_has_none() -> None:
    without = {name for name in METRICS if rule_of(name) is None}
    assert without == {n for n, m in METRICS.items() if m.kind in ("PerPhase", "PerRunDistribution")} | set(RATES)


def slow(name: str, values: list[float | None], weights: list[int]) -> float | None:
    """The table of folds, said once more in exact fractions."""
    kept = [(Fraction(v), w) for v, w in zip(values, weights, strict=True) if v is not None]
    if not kept:
        return None
    numbers = [v for v, _ in kept]
    mean = sum(numbers, Fraction()) / len(numbers)
    if name in ("total_migrations", "total_fallback", "total_keep_last", "total_iterations"):
        exact = Decimal(mean.numerator) / Decimal(mean.denominator)
        return float(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    if name in ("worst_spread", "worst_migration_ratio", "stuck_count"):
        return float(mean)
    kind = METRICS[name].kind if name in METRICS else None
    if isinstance(kind, Rate) or kind in ("PerPhase", "PerRunDistribution"):
        return None
    if kind == "Counter":
        return float(sum(numbers))
    if kind == "Peak" or (isinstance(kind, Distribution) and kind.reduction == "Worst"):
        return float(max(numbers))
    if isinstance(kind, Gauge) and any(w for _, w in kept):
        return float(sum((v * w for v, w in kept), Fraction()) / sum(w for _, w in kept))
    return float(mean)


RUNS = st.lists(
    st.tuples(st.none() | st.integers(-(10**6), 10**6).map(lambda n: n / 4), st.integers(0, 50)), min_size=1, max_size=9
)


@given(name=st.sampled_from([*METRICS, "unregistered", "p99_us"]), runs=RUNS)
def test_folds_are_those_of_the_slow_obvious_way(name: str, runs: list[tuple[float | None, int]]) -> None:
    values, weights = [value for value, _ in runs], [weight for _, weight in runs]
    expected = slow(name, values, weights)
    found = fold_runs({name: array(*values)}, np.array(weights, dtype=np.float64))
    assert found == ({} if expected is None else {name: pytest.approx(expected, rel=1e-12, abs=1e-12)})


@given(
    name=st.sampled_from(sorted(RATES)), runs=st.lists(st.tuples(*[st.none() | st.integers(0, 999)] * 2), min_size=1)
)
def test_rates_are_those_of_the_slow_obvious_way(name: str, runs: list[tuple[int | None, int | None]]) -> None:
    both = [(n, d) for n, d in runs if n is not None and d is not None]
    below = sum(d for _, d in both)
    parts = {RATES[name].numerator: array(*(n for n, _ in runs)), RATES[name].denominator: array(*(d for _, d in runs))}
    found = fold_runs(parts, np.ones(len(runs))).get(name)
    assert found == (pytest.approx(sum(n for n, _ in both) / below) if below else None)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5))
def test_a_fold_is_a_finite_number_or_nothing(values: list[float]) -> None:
    for rule in ("sum", "mean", "rounded mean", "weighted mean", "last", "max"):
        found = fold(rule, array(*values), np.ones(len(values)))
        assert found is None or math.isfinite(found)
