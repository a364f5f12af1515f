"""Scenarios that stand out."""

from __future__ import annotations

import math
import statistics

import pytest

from ktstr.stats.analysis.outliers import COLUMNS, Outlier, find_outliers, to_text
from tests.stats.analysis.frames import Row, runs_of, wide_of

TEN = [Row(f"t{i}") for i in range(10)]


def test_a_scenario_beyond_two_sample_deviations_is_found() -> None:
    values = [10.0] * 9 + [100.0]
    (found,) = find_outliers(runs_of(*TEN), wide_of(10, worst_spread=values))
    # mean 19; sample deviation sqrt((9 * 81 + 6561) / 9) = sqrt(810) = 28.46
    assert (found.scenario, found.metric, found.value, found.mean) == ("t9", "spread", 100.0, 19.0)
    assert found.sigma == pytest.approx(81 / math.sqrt(810))
    assert found.worst_on == ("1n1l1c1t",)


def test_the_deviation_is_that_of_a_sample() -> None:
    """Mean 2.17, deviation 4.02, so the threshold is 10.2; of a population they would be 3.67 and 9.5."""
    values = [0.0, 0.0, 0.0, 0.0, 3.0, 10.0]
    assert statistics.stdev(values) == pytest.approx(4.0208, abs=1e-4)
    assert find_outliers(runs_of(*TEN[:6]), wide_of(6, worst_spread=values)) == ()


def test_one_of_five_is_never_far_enough() -> None:
    """(n - 1) / sqrt(n) deviations is the most that one of n values has: 1.79 of 5."""
    assert find_outliers(runs_of(*TEN[:5]), wide_of(5, worst_spread=[0.0, 0.0, 0.0, 0.0, 1e9])) == ()


def test_equal_values_and_single_ones_have_no_outlier() -> None:
    assert find_outliers(runs_of(*TEN), wide_of(10, worst_spread=[5.0] * 10)) == ()
    assert find_outliers(runs_of(TEN[0]), wide_of(1, worst_spread=[5.0])) == ()
    assert find_outliers(runs_of(*TEN), wide_of(10)) == ()


def test_low_values_are_none() -> None:
    assert find_outliers(runs_of(*TEN), wide_of(10, worst_spread=[10.0] * 9 + [-100.0])) == ()


@pytest.mark.parametrize(
    "odd",
    [
        Row("t9", verdict="fail"),
        Row("t9", verdict="skip"),
        Row("t9", verdict="inconclusive"),
        Row("t9", expected_failure=True),
    ],
)
def test_only_rows_that_passed_as_they_were_meant_to_count(odd: Row) -> None:
    values = [10.0] * 9 + [100.0]
    assert find_outliers(runs_of(*TEN[:9], odd), wide_of(10, worst_spread=values)) == ()


def test_what_was_not_measured_is_left_out_and_is_no_zero() -> None:
    values = [None] * 10 + [10.0] * 9 + [100.0]
    rows = [Row("unmeasured") for _ in range(10)] + TEN
    (found,) = find_outliers(runs_of(*rows), wide_of(20, worst_gap_ms=values))
    assert found.mean == 19.0


def test_a_scenarios_mean_decides_and_its_worst_topologies_are_named_in_order_with_repeats() -> None:
    rows = [Row("slow", "b"), *(Row(f"t{i}") for i in range(20)), Row("slow", "a"), Row("slow", "b"), Row("slow", "c")]
    values = [100.0, *[1.0] * 20, 90.0, 100.0, 30.0]
    (found,) = find_outliers(runs_of(*rows), wide_of(24, total_migrations=values))
    assert (found.scenario, found.metric, found.value) == ("slow", "migrations", 80.0)
    assert found.worst_on == ("b", "a", "b")


def test_the_furthest_comes_first_and_equal_ones_in_the_order_of_columns() -> None:
    near = [10.0, 12.0, 8.0, 11.0, 9.0, 10.0, 12.0, 8.0, 10.0, 20.0]
    far = [10.0] * 9 + [100.0]
    found = find_outliers(runs_of(*TEN), wide_of(10, total_keep_last=far, worst_spread=near, stuck_count=far))
    assert [outlier.metric for outlier in found] == ["stuck", "keep_last", "spread"]


def test_the_columns_are_the_documented_ones_in_order() -> None:
    assert list(COLUMNS) == [
        "spread", "gap_ms", "migrations", "migration_ratio", "imbalance", "dsq_depth", "stuck", "fallback",
        "keep_last", "worst_p99_wake_latency_us", "worst_wake_latency_cv", "worst_mean_run_delay_us",
        "worst_run_delay_us",
    ]  # fmt: skip


def test_the_text_is_as_documented() -> None:
    assert to_text(()) == "No outliers detected.\n"
    found = (Outlier("s\x1b", "gap_ms", 200.04, 20.0, 2.46, ("a", "b")), Outlier("t", "spread", 9.0, 1.0, 2.1, ()))
    assert to_text(found) == (
        "Outliers detected:\n"
        "  s?: gap_ms 200.0 (overall avg 20.0, +2.5\N{GREEK SMALL LETTER SIGMA})\n"
        "    worst on: a, b\n"
        "  t: spread 9.0 (overall avg 1.0, +2.1\N{GREEK SMALL LETTER SIGMA})\n"
    )
