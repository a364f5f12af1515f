from __future__ import annotations

from ktstr.checks.thresholds import TABLE, merge
from ktstr.record.metrics import METRICS
from ktstr.stats.explore.ranking import GAUGES, SeedRun, rank_by, worst_first


def runs(*values: tuple[int, str, dict[str, float]]) -> list[SeedRun]:
    return [SeedRun(seed, verdict, values=metrics) for seed, verdict, metrics in values]


SOME = runs(
    (1, "pass", {"worst_gap_ms": 30, "worst_spread": 12}),
    (2, "pass", {"worst_gap_ms": 300, "worst_spread": 7}),
    (3, "fail", {"worst_gap_ms": 20, "worst_spread": 1}),
    (4, "inconclusive", {}),
    (5, "error", {}),
    (6, "not run", {}),
    (7, "pass", {"worst_spread": 12}),
)


def test_every_gauge_is_of_a_check_and_a_metric_that_there_are() -> None:
    assert set(GAUGES) <= set(TABLE)
    assert {gauge.metric for gauge in GAUGES.values()} <= set(METRICS)


def test_it_is_ranked_by_what_comes_nearest_to_its_limit() -> None:
    found = rank_by(SOME, merge({}, {"max_gap_ms": 3000, "max_spread_pct": 100.0}), None, sched_ext=True)
    assert found is not None  # 12 of 100 %, and 300 of 3000 ms
    assert (found.metric, found.check, found.limit, found.used_pct) == ("worst_spread", "max_spread_pct", 100, 12)
    found = rank_by(SOME, merge({}, {"max_gap_ms": 400, "max_spread_pct": 100.0}), None, sched_ext=True)
    assert found is not None and (found.metric, found.used_pct) == ("worst_gap_ms", 75)


def test_limits_are_in_the_metrics_units_and_those_below_which_it_fails_are_floors() -> None:
    late = runs((1, "pass", {"worst_p99_wake_latency_us": 900, "worst_page_locality": 0.8}))
    found = rank_by(late, merge({}, {"max_p99_wake_latency_ns": 1_000_000}), None, sched_ext=True)
    assert found is not None and (found.metric, found.limit, found.used_pct) == ("worst_p99_wake_latency_us", 1000, 90)
    found = rank_by(late, merge({}, {"min_page_locality": 0.76}), None, sched_ext=True)
    assert found is not None and (found.metric, found.used_pct) == ("worst_page_locality", 95)


def test_a_metric_that_is_asked_for_needs_no_limit_and_one_that_none_measured_is_none() -> None:
    found = rank_by(SOME, merge({}, {}), "total_migrations", sched_ext=True)
    assert found is None
    found = rank_by(SOME, merge({}, {}), "worst_spread", sched_ext=True)
    assert found is not None and (found.metric, found.check, found.used_pct) == ("worst_spread", None, None)


def test_without_limits_it_is_the_longest_gap() -> None:
    found = rank_by(SOME, merge({}, {"not_starved": False}), None, sched_ext=True)
    assert found is not None and (found.metric, found.check) == ("worst_gap_ms", None)
    assert rank_by(runs((1, "error", {})), merge({}, {}), None, sched_ext=True) is None


def test_failing_seeds_come_first_then_the_metric_then_the_seed_and_what_never_ran_is_left_out() -> None:
    by_spread = rank_by(SOME, merge({}, {}), "worst_spread", sched_ext=True)
    assert [run.seed for run in worst_first(SOME, by_spread)] == [3, 4, 1, 7, 2]
    by_gap = rank_by(SOME, merge({}, {}), "worst_gap_ms", sched_ext=True)
    assert [run.seed for run in worst_first(SOME, by_gap)] == [3, 4, 2, 1, 7]


def test_of_what_is_better_when_higher_the_lowest_is_worst() -> None:
    slow = runs((1, "pass", {"total_iterations": 9}), (2, "pass", {"total_iterations": 4}))
    ranking = rank_by(slow, merge({}, {}), "total_iterations", sched_ext=True)
    assert [run.seed for run in worst_first(slow, ranking)] == [2, 1]
