"""The older rule, bar by bar."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ktstr.stats.inference import Gate, Ratio, Rule, Settings, Word, decide
from ktstr.stats.inference.samples import Limits
from ktstr.stats.inference.welch import disjoint, material, welch
from tests.stats.inference.samples import by_welch, sample

LOW, HIGH = [96.0, 98.0, 100.0, 102.0, 104.0], [102.0, 104.0, 106.0, 108.0, 110.0]


def array(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


def test_the_documented_example_is_separated_by_welch_alone() -> None:
    test = welch(array(LOW), array(HIGH))
    assert test is not None
    assert test.t == pytest.approx(-3)
    assert test.dof == pytest.approx(8)
    assert test.p == pytest.approx(0.017, abs=5e-4)
    assert not disjoint(array(LOW), array(HIGH))
    assert by_welch(sample(LOW, HIGH)).word is Word.REGRESSED
    assert by_welch(sample(LOW, HIGH, polarity=-1)).word is Word.IMPROVED


@given(*[st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=9)] * 2)
def test_agrees_with_scipy(a: list[float], b: list[float]) -> None:
    ours = welch(array(a), array(b))
    if len(set(a)) == len(set(b)) == 1:
        assert ours is None
        return
    with warnings.catch_warnings(action="ignore"):  # of a side without variance
        expected = stats.ttest_ind(a, b, equal_var=False)
    assert ours is not None
    assert ours.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert ours.dof == pytest.approx(expected.df, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ([1, 2], [3, 4], True),
        ([3, 4], [1, 2], True),
        ([1, 2], [2, 3], False),
        ([2, 3], [1, 2], False),
        ([1, 5], [2, 3], False),
    ],
)
def test_bands_that_touch_are_not_disjoint(a: list[float], b: list[float], apart: bool) -> None:
    assert disjoint(array(a), array(b)) is apart


def test_zero_variance_never_raises() -> None:
    assert welch(array([5, 5, 5]), array([5, 5])) is None
    assert welch(array([5, 5, 5]), array([6, 6])) is None
    assert by_welch(sample([5, 5, 5], [5, 5])).word is Word.SAME
    assert by_welch(sample([5, 5, 5], [6, 6])).word is Word.REGRESSED  # disjoint


def test_one_side_without_variance_is_tested_against_the_other() -> None:
    test = welch(array([5, 5, 5]), array([6, 8, 7]))
    assert test is not None
    assert test.dof == pytest.approx(2)


def test_fewer_than_two_runs_are_noisy() -> None:
    for a, b in (([100.0], HIGH), (LOW, [200.0]), ([1.0], [2.0])):
        verdict = by_welch(sample(a, b))
        assert verdict.word is Word.NOISY
        assert verdict.p is None
        assert verdict.more == 1


def test_both_means_of_zero_are_left_out_before_anything_else() -> None:
    assert decide([sample([0, 0], [0, 0])], Rule.WELCH, Settings()) == ()
    assert decide([sample([0], [5e-10])], Rule.WELCH, Settings()) == ()
    assert by_welch(sample([0], [1e-9])).word is Word.NOISY


def test_a_metric_of_one_side_only_is_left_out() -> None:
    assert decide([sample([], HIGH), sample(LOW, [])], Rule.WELCH, Settings()) == ()


@pytest.mark.parametrize(
    ("a", "b", "limits", "expected"),
    [
        (100, 106, Limits(1, 0, 0.25), False),
        (100, 106, Limits(1, 0, 0.05), True),
        (1, 1.5, Limits(1, 2, 0.01), False),  # blocked by the absolute gate
        (100, 105, Limits(1, 5, 0.05), True),  # equal to both counts
        (0, 3, Limits(1, 2, 1e9), True),  # from zero: the absolute gate decides
        (0, 1, Limits(1, 2, 0), False),
    ],
)
def test_material_takes_both_gates(a: float, b: float, limits: Limits, expected: bool) -> None:
    assert material(a, b, limits) is expected


def test_separated_but_immaterial_is_the_same() -> None:
    assert by_welch(sample(LOW, HIGH, gate_rel=0.1)).word is Word.SAME


def test_material_but_not_separated_is_the_same() -> None:
    assert by_welch(sample([50, 150, 100], [60, 170, 120])).word is Word.SAME


def test_without_a_direction_a_move_is_informational() -> None:
    assert by_welch(sample(LOW, HIGH, polarity=0)).word is Word.INFORMATIONAL
    assert by_welch(sample(LOW, LOW, polarity=0)).word is Word.SAME


def test_wide_spread_is_strict_and_changes_no_word() -> None:
    """96 to 104 around 100 is 8 %."""
    assert by_welch(sample(LOW, LOW), Settings(spread_pct=8.0)).high_spread is False
    assert by_welch(sample(LOW, LOW), Settings(spread_pct=7.99)).high_spread is True
    assert by_welch(sample(LOW, HIGH), Settings(spread_pct=0.0)).word is Word.REGRESSED


def test_spread_of_equal_values_is_zero_and_around_zero_it_is_infinitely_wide() -> None:
    verdict = by_welch(sample([-1, 1], [5, 5]))
    assert verdict.spread_a is None
    assert verdict.spread_b == 0
    assert verdict.high_spread


def test_a_rate_is_compared_by_its_pooled_mean() -> None:
    """Runs of 10/1 and 10/9: pooled 2, while the mean of the ratios is 5.56. Bands stay those of the runs."""
    ratio = Ratio(array([10, 10]), array([1, 9]))
    other = Ratio(array([30, 30]), array([1, 9]))
    verdict = by_welch(sample([10, 10 / 9], [30, 30 / 9], ratio_a=ratio, ratio_b=other))
    assert (verdict.center_a, verdict.center_b) == (2, 6)
    assert verdict.low_a == pytest.approx(10 / 9)
    assert verdict.high_a == 10
    assert verdict.spread_a == pytest.approx((10 - 10 / 9) / 2 * 100)


def test_a_rate_without_a_denominator_is_left_out() -> None:
    nothing = Ratio(array([1, 1]), array([0, 0]))
    one = sample([1, 2], [3, 4], ratio_a=nothing, ratio_b=Ratio(array([3, 4]), array([1, 1])))
    assert decide([one], Rule.WELCH, Settings()) == ()


def test_a_declared_gate_takes_the_place_of_the_registrys() -> None:
    strict = sample(LOW, HIGH, gate_rel=0.1, declared=Gate(max_regression_pct=5))
    verdict = by_welch(strict)
    assert verdict.word is Word.REGRESSED
    assert verdict.declared
    assert by_welch(sample(LOW, HIGH, declared=Gate(min_abs=7))).word is Word.SAME
    assert by_welch(sample(LOW, HIGH, polarity=0, declared=Gate(direction=1))).word is Word.REGRESSED
    assert by_welch(sample(LOW, HIGH, declared=Gate(direction=-1))).word is Word.IMPROVED


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, None])
def test_a_declared_limit_that_is_no_limit_is_ignored(bad: float | None) -> None:
    verdict = by_welch(sample(LOW, HIGH, gate_rel=0.05, declared=Gate(None, bad, bad)))
    assert verdict.word is Word.REGRESSED
    assert verdict.declared
