"""The exact test against enumeration, tables and SciPy."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ktstr.stats.inference.permutation import EXACT_UP_TO, interval_rank, least_p, least_runs, p_of, rank_sums
from ktstr.stats.inference.ranks import shifts
from ktstr.stats.inference.samples import Values

few = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=6)


def p(a: list[float], b: list[float]) -> float:
    return shifts([(np.array(a), np.array(b))], 0.95)[0].p


def doubled_ranks(pooled: list[float]) -> list[int]:
    """Twice the mid-rank of each, by definition."""
    return [sum(2 * (w < v) + (w == v) for w in pooled) + 1 for v in pooled]


@given(few, few)
@settings(max_examples=200, deadline=None)
def test_p_counts_every_way_to_label_the_values(a: list[float], b: list[float]) -> None:
    ranks = doubled_ranks(a + b)
    observed = sum(ranks[len(a) :])
    sums = [sum(chosen) for chosen in combinations(ranks, len(b))]
    at_most, at_least = sum(s <= observed for s in sums), sum(s >= observed for s in sums)
    assert p(a, b) == pytest.approx(min(1.0, 2 * min(at_most, at_least) / len(sums)), rel=1e-12)


@given(few, few)
@settings(max_examples=100, deadline=None)
def test_least_p_is_that_of_the_most_extreme_labelling(a: list[float], b: list[float]) -> None:
    pooled = sorted(a + b)
    extremes = [p(pooled[: len(a)], pooled[len(a) :]), p(pooled[len(b) :], pooled[: len(b)])]
    assert shifts([(np.array(a), np.array(b))], 0.95)[0].least_p == pytest.approx(min(extremes), rel=1e-12)


@pytest.mark.parametrize(("n_a", "n_b"), [(1, 1), (3, 4), (8, 5), (20, 20), (7, 30)])
def test_untied_agrees_with_scipys_exact_test(n_a: int, n_b: int) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        a, b = random.normal(size=n_a), random.normal(0.7, size=n_b)
        expected = stats.mannwhitneyu(a, b, method="exact").pvalue
        assert shifts([(a, b)], 0.95)[0].p == pytest.approx(expected, rel=1e-9)


def test_tied_agrees_with_a_published_exact_tail() -> None:
    """NAG's example of g08ahf: the exact lower tail is 0.0020, while the normal approximation has 0.0025."""
    a = [13, 6, 12, 7, 12, 7, 10, 7, 10, 7, 16, 7, 10, 8, 9, 8]
    b = [17, 6, 10, 8, 15, 8, 15, 10, 15, 10, 14, 10, 14, 11, 14, 11, 13, 12, 13, 12, 13, 12, 12]
    assert p([float(v) for v in a], [float(v) for v in b]) == pytest.approx(2 * 0.0020, abs=1e-4)


def test_clearly_apart_has_the_least_p() -> None:
    assert p([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert p([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]) == pytest.approx(2 / 252)
    assert least_p((1,) * 10, 5) == pytest.approx(2 / 252)


def test_equal_values_have_p_one() -> None:
    assert p([4, 4, 4], [4, 4]) == 1.0
    assert least_p((5,), 2) == 1.0
    assert least_p((500,), 200) == 1.0


def test_probabilities_add_up() -> None:
    sums = rank_sums((1, 2, 3, 1, 5), 6)
    assert sums.at_most[-1] == pytest.approx(1.0)
    assert sums.at_least[0] == pytest.approx(1.0)
    assert (np.diff(sums.at_most) >= 0).all()


@pytest.mark.parametrize("ties", [(1,) * (EXACT_UP_TO + 2), (3,) * ((EXACT_UP_TO + 6) // 3)])
def test_beyond_the_exact_sizes_the_normal_approximation_agrees_with_scipys(ties: tuple[int, ...]) -> None:
    values: Values = np.repeat(np.arange(len(ties), dtype=float), ties)
    b = values[1::2] + 0.0
    a = values[0::2] - 12.0
    expected = stats.mannwhitneyu(a, b, method="asymptotic").pvalue
    assert shifts([(a, b)], 0.95)[0].p == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("z", [1.0, 2.0, 3.0])
def test_the_two_methods_meet_where_one_takes_over(z: float) -> None:
    """On either side of the largest exact size, z standard deviations out, p is nearly the same, or larger."""

    def p_at(n: int) -> float:
        return p_of((1,) * (2 * n), n, round(n * (2 * n + 1) / 2 - z * (n * n * (2 * n + 1) / 12) ** 0.5))

    exact, approximate = p_at(EXACT_UP_TO // 2), p_at(EXACT_UP_TO // 2 + 1)
    assert exact == pytest.approx(approximate, rel=0.15)
    assert approximate > 0.97 * exact


@pytest.mark.parametrize(("n", "k"), [(3, 0), (4, 1), (5, 3), (6, 6), (8, 14), (10, 24), (20, 128)])
def test_interval_ranks_are_those_of_the_published_table(n: int, k: int) -> None:
    """Critical values of U for two-sided 5 %: none at n=3, then 0, 2, 5, 13, 23, 127; k is one more."""
    assert interval_rank(n, n, 0.95) == k


def test_interval_rank_is_the_largest_with_its_coverage() -> None:
    for n_a, n_b in ((4, 7), (9, 9), (12, 5)):
        at_most = rank_sums((1,) * (n_a + n_b), n_b).at_most
        k = interval_rank(n_a, n_b, 0.9)
        assert at_most[k - 1] <= 0.05 < at_most[k]


def test_large_interval_rank_is_close_to_the_exact_one() -> None:
    at_most = rank_sums((1,) * 130, 65).at_most
    exact = int(np.searchsorted(at_most, 0.025, side="right"))
    assert abs(interval_rank(65, 65, 0.95) - exact) <= 2


@pytest.mark.parametrize(("level", "n"), [(0.05, 4), (0.05 / 6, 5), (0.05 / 10, 6), (0.05 / 60, 7), (0.05 / 600, 9)])
def test_least_runs(level: float, n: int) -> None:
    assert least_runs(level) == n
    assert 2 / comb(2 * n, n) <= level < 2 / comb(2 * n - 2, n - 1)
