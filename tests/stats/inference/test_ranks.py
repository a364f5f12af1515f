"""The estimated shift and its interval."""

from __future__ import annotations

from math import isnan
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.stats.inference.ranks import shifts

values = st.lists(st.integers(-50, 50).map(float), min_size=4, max_size=12)


@given(values, values)
@settings(max_examples=100, deadline=None)
def test_estimate_is_the_median_of_all_differences(a: list[float], b: list[float]) -> None:
    found = shifts([(np.array(a), np.array(b))], 0.95)[0]
    assert found.estimate == median(y - x for x in a for y in b)
    assert found.low <= found.estimate <= found.high


@given(values, values)
@settings(max_examples=50, deadline=None)
def test_swapping_the_sides_turns_the_sign_and_nothing_else(a: list[float], b: list[float]) -> None:
    there, back = shifts([(np.array(a), np.array(b)), (np.array(b), np.array(a))], 0.95)
    assert there.p == pytest.approx(back.p, rel=1e-9)
    assert there.estimate == -back.estimate
    if len(a) == len(b):
        assert (there.low, there.high) == (-back.high, -back.low)


@given(values, values)
@settings(max_examples=100, deadline=None)
def test_interval_holds_what_the_test_does_not_reject(a: list[float], b: list[float]) -> None:
    """Without ties: shifting B back by what lies strictly inside the interval is not rejected, outside it is."""
    apart_a = np.array(a) + np.linspace(0, 0.3, len(a))
    apart_b = np.array(b) + np.sqrt(2) * np.linspace(0.01, 0.3, len(b))
    found = shifts([(apart_a, apart_b)], 0.95)[0]
    inside, outside = (found.low + found.high) / 2, found.high + 1e-6
    between = shifts([(apart_a, apart_b - inside), (apart_a, apart_b - outside)], 0.95)
    assert between[0].p > 0.05
    assert between[1].p <= 0.05


def test_pairs_of_different_sizes_keep_their_order_and_their_answers() -> None:
    random = np.random.default_rng(5)
    pairs = [(random.normal(size=n), random.normal(size=m)) for n, m in [(4, 5), (9, 9), (4, 5), (1, 1), (9, 9)]]
    assert shifts(pairs[:3] + pairs[4:], 0.95) == [shifts([pair], 0.95)[0] for pair in pairs[:3] + pairs[4:]]
    alone = shifts(pairs, 0.95)[3]
    assert alone.p == 1.0 and isnan(alone.low) and isnan(alone.high)


def test_interval_covers_the_shift_as_often_as_it_says() -> None:
    """95 % of 4,000 on skewed data, N=8 and 8: at least the nominal share, less three standard errors."""
    random = np.random.default_rng(7)
    pairs = [(random.lognormal(size=8), 3 + random.lognormal(size=8)) for _ in range(4000)]
    covered = sum(s.low <= 3 <= s.high for s in shifts(pairs, 0.95)) / 4000
    assert covered > 0.95 - 3 * (0.05 * 0.95 / 4000) ** 0.5


def test_huge_values_do_not_raise() -> None:
    found = shifts([(np.full(5, -1.7e308), np.array([1.7e308, 1.6e308, 1.5e308, 1.4e308, 1.3e308]))], 0.95)[0]
    assert found.p == pytest.approx(2 / 252)
