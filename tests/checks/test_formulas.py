from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks import formulas
from ktstr.checks.formulas import Samples, cv, nearest_rank, pooled_wakes, thin
from tests.checks.reports import MS, S, worker


def plain(*values: int) -> Samples:
    return Samples(tuple(sorted(values)), (1.0,) * len(values))


def test_off_cpu_share_by_hand_and_never_below_zero() -> None:
    assert formulas.off_cpu_pct(worker(cpu_time_ns=500 * MS, wall_time_ns=2 * S)) == 75.0
    assert formulas.off_cpu_pct(worker(cpu_time_ns=3 * S, wall_time_ns=2 * S)) == 0.0
    assert formulas.off_cpu_pct(worker(wall_time_ns=0)) is None


def test_rates_by_hand_and_none_without_a_denominator() -> None:
    assert formulas.work_rate(worker(work_units=3000, cpu_time_ns=1_500 * MS)) == 2000.0
    assert formulas.work_rate(worker(cpu_time_ns=0)) is None
    assert formulas.iteration_rate(worker(iterations=5, wall_time_ns=2 * S)) == 2.5
    assert formulas.iteration_rate(worker(wall_time_ns=0)) is None


def test_cv_is_population_stddev_over_mean() -> None:
    # 2, 4, 4, 4, 5, 5, 7, 9: the textbook example with mean 5 and population stddev 2
    assert cv([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(0.4)
    assert cv([]) is None
    assert cv([0, 0]) is None


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_cv_agrees_with_the_statistics_module(values: list[int]) -> None:
    assert cv(values) == pytest.approx(statistics.pstdev(values) / statistics.fmean(values), abs=1e-9)


def test_a_weight_counts_like_that_many_samples() -> None:
    assert cv([10, 40], [3.0, 1.0]) == pytest.approx(cv([10, 10, 10, 40]))


def test_p99_is_nearest_rank_without_interpolation() -> None:
    assert nearest_rank(plain(*range(1, 101)), 99) == 99
    assert nearest_rank(plain(*range(1, 102)), 99) == 100  # ceil(99.99) = 100th
    assert nearest_rank(plain(5), 99) == 5
    assert nearest_rank(plain(), 99) is None
    assert nearest_rank(plain(1, 2, 3, 4), 50) == 2
    assert nearest_rank(plain(1, 2, 3), 50) == 2


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200), st.sampled_from([50, 90, 99]))
def test_nearest_rank_is_the_smallest_value_that_covers_the_share(values: list[int], percent: int) -> None:
    found = nearest_rank(plain(*values), percent)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values)
    assert sum(v < found for v in values) * 100 < percent * len(values)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 5)), min_size=1, max_size=40))
def test_weighted_rank_equals_the_rank_of_the_expanded_population(pairs: list[tuple[int, int]]) -> None:
    pairs.sort()
    weighted = Samples(tuple(v for v, _ in pairs), tuple(float(w) for _, w in pairs))
    expanded = plain(*(v for v, w in pairs for _ in range(w)))
    assert nearest_rank(weighted, 99) == nearest_rank(expanded, 99)


def test_a_reservoir_stands_for_all_it_saw() -> None:
    pooled = pooled_wakes([worker(wake_latencies_ns=(30, 10), wake_sample_total=6), worker(1, wake_latencies_ns=(20,))])
    assert pooled == Samples((10, 20, 30), (3.0, 1.0, 3.0))


@given(st.lists(st.integers(0, 10**6), max_size=300), st.integers(1, 50))
def test_thinning_keeps_the_median_within_one_step(values: list[int], cap: int) -> None:
    samples = plain(*values)
    kept = thin(samples, cap)
    assert len(kept) == min(cap, len(values))
    if len(values) > cap:
        assert list(kept) == sorted(kept) and set(kept) <= set(values)
        middle = kept[math.ceil(cap / 2) - 1]
        rank = sum(v < middle for v in values), sum(v <= middle for v in values)
        step = len(values) / cap
        assert rank[0] - step <= len(values) / 2 <= rank[1] + step
