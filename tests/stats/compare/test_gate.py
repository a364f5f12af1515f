"""When a change counts, and when a comparison fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.record.metrics import METRICS
from ktstr.stats.compare.gate import Change, Gate, Limits, direction, judge, must_fail, relative_change
from ktstr.stats.compare.policy import REGISTRY, Policy, uniform


def one(name: str, a: float, b: float, policy: Policy = REGISTRY) -> Change:
    metric = METRICS[name]
    limits = Limits(np.array([metric.default_abs]), np.array([policy.relative(metric)]), np.array([direction(name)]))
    return Change(int(judge(np.array([a]), np.array([b]), limits)[0]))


def test_both_limits_have_to_be_reached() -> None:
    assert one("worst_spread", 10, 12) == Change.UNCHANGED  # 2 is below 5
    assert one("worst_spread", 10, 14) == Change.UNCHANGED  # 4 is below 5, though 40 % is above 25 %
    assert one("worst_spread", 100, 106) == Change.UNCHANGED  # 6 % is below 25 %
    assert one("worst_spread", 100, 106, uniform(5)) == Change.REGRESSION
    assert one("worst_spread", 1, 1.5, uniform(1)) == Change.UNCHANGED  # 0.5 is below 5


def test_ten_to_thirty_and_half_the_iterations_are_two_regressions_and_backwards_two_improvements() -> None:
    policy = uniform(10)
    for name, a, b in (("worst_spread", 10, 30), ("total_iterations", 1000, 500)):
        assert one(name, a, b, policy) == Change.REGRESSION
        assert one(name, b, a, policy) == Change.IMPROVEMENT


def test_a_change_of_exactly_the_limit_counts() -> None:
    assert one("worst_spread", 20, 25) == Change.REGRESSION
    assert one("worst_spread", 20, 25 - 1e-9) == Change.UNCHANGED


def test_against_a_baseline_of_nothing_the_absolute_limit_alone_decides() -> None:
    assert one("worst_spread", 0, 5) == Change.REGRESSION
    assert one("worst_spread", 0, 4.9) == Change.UNCHANGED
    assert one("worst_spread", 0, 5, uniform(1e9)) == Change.REGRESSION
    assert math.isinf(relative_change(np.array([0.0]), np.array([1.0]))[0])


def test_two_values_of_nothing_are_not_counted() -> None:
    assert one("worst_spread", 0, 9e-10) == Change.NONE
    assert one("worst_spread", 0, 2e-9) == Change.UNCHANGED


def test_an_informational_metric_is_neither_worse_nor_better() -> None:
    assert one("total_run_delay", 1e6, 2e6) == Change.INFORMATIONAL
    assert one("total_run_delay", 2e6, 1e6) == Change.INFORMATIONAL


def slow_judge(a: float, b: float, absolute: float, relative: float, towards: int) -> Change:
    """3.7, line by line."""
    if abs(a) < 1e-9 and abs(b) < 1e-9:
        return Change.NONE
    delta = b - a
    share = abs(delta / a) if abs(a) > 1e-9 else math.inf
    if abs(delta) < absolute or share < relative:
        return Change.UNCHANGED
    if towards == 0:
        return Change.INFORMATIONAL
    if delta * towards > 0:
        return Change.REGRESSION
    return Change.IMPROVEMENT if delta * towards < 0 else Change.UNCHANGED


FINITE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(-30, 30).map(float), st.floats(-1e-8, 1e-8)
)
LIMIT = st.one_of(st.integers(0, 20).map(float), st.floats(0, 5))


@given(st.lists(st.tuples(FINITE, FINITE, LIMIT, LIMIT, st.sampled_from((-1, 0, 1))), min_size=1, max_size=40))
def test_judgements_are_the_specifications(rows: list[tuple[float, float, float, float, int]]) -> None:
    a, b, absolute, relative, towards = (np.array(column) for column in zip(*rows, strict=True))
    found = [Change(int(kind)) for kind in judge(a, b, Limits(absolute, relative, towards))]
    assert found == [slow_judge(*row) for row in rows]


def test_a_policys_own_limit_goes_before_its_default_before_the_registrys() -> None:
    metric = METRICS["worst_spread"]
    assert REGISTRY.relative(metric) == 0.25
    assert Policy(default_percent=10).relative(metric) == 0.10
    both = Policy(default_percent=10, per_metric_percent={"worst_spread": 5})
    assert both.relative(metric) == 0.05
    assert both.relative(METRICS["worst_gap_ms"]) == 0.10
    assert Policy(per_metric_percent={"worst_spread": 0}).relative(metric) == 0


@pytest.mark.parametrize(
    ("threshold", "regressions", "fails"), [(5, 4, False), (5, 5, True), (1, 1, True), (1, 0, False)]
)
def test_a_comparison_fails_at_so_many_regressions(threshold: int, regressions: int, fails: bool) -> None:
    assert Gate(threshold).fails(["worst_spread"] * regressions) is fails


def test_the_count_is_five_by_default_and_zero_counts_nothing() -> None:
    assert Gate() == Gate(5)
    assert Gate(0).fails(["worst_spread"] * 1000) is False


def test_a_metric_that_must_not_regress_fails_alone() -> None:
    assert Gate(0, ("worst_spread",)).fails(["worst_spread"]) is True
    assert Gate(5, ("worst_spread",)).fails(["worst_gap_ms"] * 4) is False
    assert Gate(5, ("worst_spread",)).fails(["worst_gap_ms"] * 5) is True


def test_names_are_trimmed_and_empty_ones_left_out() -> None:
    assert must_fail([" worst_spread", "", "worst_gap_ms ", "worst_spread"], noise=False) == (
        "worst_spread",
        "worst_gap_ms",
    )


@pytest.mark.parametrize(
    ("name", "noise", "says"),
    [
        ("worst_sprad", False, "no such metric, nearest match 'worst_spread'"),
        ("total_phase_iterations", True, "a component that rates are made of"),
        ("wakeup_p99_latency_us", True, "a metric of phases"),
        ("wakeup_p99_latency_us_whole", False, "(?s)a metric of single runs.*add noise_adjust=N"),
        ("total_run_delay", False, "an informational metric"),
    ],
)
def test_a_metric_that_could_never_fail_is_refused(name: str, noise: bool, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        must_fail([name], noise=noise)
    assert f"must_fail={name}" in str(caught.value)


def test_many_runs_a_side_may_be_failed_by_what_one_cannot() -> None:
    names = ("wakeup_p99_latency_us_whole", "total_run_delay")
    assert must_fail(names, noise=True) == names
