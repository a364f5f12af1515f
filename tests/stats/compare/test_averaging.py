"""Runs of one key as one: every fold, verdict and commit; against the same, run by run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.stats.compare.averaging import Groups, as_it_is, average, half_away, side
from ktstr.stats.folds import fold_runs
from tests.stats.compare.pools import Row, pool, row


def averaged(*rows: Row, key: Sequence[int] | None = None) -> Groups:
    made = pool(*rows)
    return average(side(made.runs, made.metrics, np.array(key or [0] * len(rows))))


def values(groups: Groups, key: int = 0) -> dict[str, float]:
    mine = groups.metrics[groups.metrics["key"] == key]
    return dict(zip(mine["metric"], mine["value"], strict=True))


def folded(metric: str, *numbers: float | None) -> float:
    rows = (row({} if number is None else {metric: number}) for number in numbers)
    return values(averaged(*rows))[metric]


def test_fields_of_a_sidecar_are_averaged_and_counts_are_counts_again() -> None:
    assert folded("worst_spread", 10, 20, 30) == 20
    assert folded("worst_migration_ratio", 0.25, 0.5) == 0.375
    for metric, runs, mean in (
        ("total_migrations", (100, 200, 300), 200),
        ("total_fallback", (50, 60, 70), 60),
        ("total_iterations", (900, 1000, 1100), 1000),
        ("total_keep_last", (-50, -60, -70), -60),
    ):
        assert folded(metric, *runs) == mean
    assert folded("stuck_count", 1, 2) == 1.5


@pytest.mark.parametrize(("numbers", "mean"), [((1, 2), 2), ((-1, -2), -2), ((1, 1, 2), 1), ((0, 1), 1)])
def test_a_half_is_rounded_away_from_zero(numbers: tuple[int, ...], mean: int) -> None:
    assert folded("total_migrations", *numbers) == mean
    assert list(half_away(np.array([0.5, -0.5, 0.49, -1.5]))) == [1, -1, 0, -2]


def test_the_largest_is_never_averaged() -> None:
    for metric in ("worst_gap_ms", "max_imbalance_ratio", "max_dsq_depth", "max_avg_irq_util"):
        assert folded(metric, 1, 7, 3) == 7
    assert folded("worst_run_delay_us", 1, 7, 3) == 7


def test_a_metric_is_averaged_over_the_runs_that_have_it() -> None:
    assert folded("payload.iops", 10, None, 30) == 20
    assert folded("payload.iops", None, 30) == 30
    assert folded("worst_p99_wake_latency_us", 10, None, 30) == 20


def test_counters_are_summed_and_say_of_how_many_runs() -> None:
    groups = averaged(row({"total_sched_count": 3}), row(), row({"total_sched_count": 4}))
    (found,) = groups.metrics.itertuples(index=False)
    assert (found.metric, found.value, found.runs) == ("total_sched_count", 7, 2)


def test_levels_are_weighted_by_samples_and_plainly_averaged_without() -> None:
    metric = "avg_imbalance_ratio"
    assert values(averaged(row({metric: 1}, sample_count=3), row({metric: 5}, sample_count=1)))[metric] == 2
    assert values(averaged(row({metric: 1}), row({metric: 5})))[metric] == 3


def test_rates_are_sums_by_sums_over_the_runs_with_both_parts() -> None:
    parts = ("total_iterations_pooled", "total_cpu_time_sec")
    rows = [
        row(dict(zip(parts, (100, 1), strict=True)) | {"iterations_per_cpu_sec": 100}),
        row(dict(zip(parts, (100, 3), strict=True)) | {"iterations_per_cpu_sec": 33.3}),
        row({"total_iterations_pooled": 999}),
    ]
    assert values(averaged(*rows))["iterations_per_cpu_sec"] == 50
    assert "iterations_per_cpu_sec" not in values(averaged(row({parts[0]: 1, parts[1]: 0})))
    assert "iterations_per_cpu_sec" not in values(averaged(row({parts[0]: 1, "iterations_per_cpu_sec": 7})))


def test_what_says_nothing_of_several_runs_is_dropped() -> None:
    assert values(averaged(row({"wakeup_p99_latency_us": 1, "rps_p50_whole": 2}))) == {}


def test_a_single_run_is_itself() -> None:
    metrics = {"worst_spread": 1.5, "worst_gap_ms": 7, "x": 3.25, "total_sched_count": 9}
    assert values(averaged(row(metrics))) == metrics


@pytest.mark.parametrize("verdict", ["fail", "skip", "inconclusive"])
def test_what_did_not_pass_is_counted_and_not_averaged(verdict: str) -> None:
    groups = averaged(row({"worst_spread": 10}), row({"worst_spread": 90}, verdict=verdict))
    assert values(groups) == {"worst_spread": 10}
    counted = groups.rows.loc[0]
    assert (counted["pass"], counted[verdict]) == (1, 1)


def test_without_a_pass_there_is_nothing_to_average() -> None:
    groups = averaged(row({"worst_spread": 10}, verdict="fail"), row({"worst_spread": 9}, verdict="skip"))
    assert values(groups) == {}
    assert groups.rows.loc[0, "verdict"] == "fail"


def test_an_expected_failure_feeds_nothing_and_marks_its_group() -> None:
    groups = averaged(row({"worst_spread": 10}), row({"worst_spread": 90}, expected_failure=True))
    assert values(groups) == {"worst_spread": 10}
    assert groups.rows.loc[0, "expected_failure"]


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (("skip", "pass"), "pass"),
        (("pass", "inconclusive"), "inconclusive"),
        (("inconclusive", "fail", "skip"), "fail"),
        (("skip", "skip"), "skip"),
    ],
)
def test_the_worst_verdict_is_the_groups(verdicts: tuple[str, ...], worst: str) -> None:
    assert averaged(*(row(verdict=one) for one in verdicts)).rows.loc[0, "verdict"] == worst


@pytest.mark.parametrize(
    ("commits", "told"),
    [
        (("abc1234", "abc1234-dirty"), "abc1234+mixed"),
        (("abc1234-dirty", "abc1234"), "abc1234+mixed"),
        (("abc1234-dirty", "abc1234-dirty"), "abc1234-dirty"),
        (("abc1234", "abc1234"), "abc1234"),
        ((None, "abc1234-dirty", "abc1234"), "abc1234+mixed"),
        ((None, "abc1234-dirty"), "abc1234-dirty"),
        ((None, None), None),
    ],
)
def test_clean_and_dirty_trees_are_mixed(commits: tuple[str | None, ...], told: str | None) -> None:
    rows = [
        row(project_commit=one, kernel_commit=one, verdict="fail" if at else "pass") for at, one in enumerate(commits)
    ]
    found = averaged(*rows).rows.loc[0]
    for column in ("project_commit", "kernel_commit"):
        assert found[column] == told if told else not isinstance(found[column], str)


def test_groups_are_in_the_order_first_seen_and_are_their_first_run() -> None:
    groups = averaged(
        row(topology="x", scheduler="a"), row(topology="y"), row(topology="z", scheduler="b"), key=[7, 3, 7]
    )
    assert list(groups.rows.index) == [7, 3]
    assert tuple(groups.rows.loc[7, ["topology", "scheduler"]]) == ("x", "a")


def test_unaveraged_runs_keep_their_metrics() -> None:
    made = pool(row({"rps_p50_whole": 2, "x": 1}))
    assert values(as_it_is(side(made.runs, made.metrics, np.array([0])))) == {"rps_p50_whole": 2, "x": 1}


METRICS_USED = (
    "worst_spread", "worst_gap_ms", "total_migrations", "stuck_count", "total_sched_count", "avg_imbalance_ratio",
    "worst_p99_wake_latency_us", "worst_run_delay_us", "system_time_ns", "unheard_of", "rps_p50", "rps_p50_whole",
    "total_iterations_pooled", "total_cpu_time_sec", "iterations_per_cpu_sec",
)  # fmt: skip
RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.integers(0, 2),
            "verdict": st.sampled_from(["pass", "pass", "pass", "fail", "skip", "inconclusive"]),
            "expected_failure": st.sampled_from([False, False, False, True]),
            "sample_count": st.integers(0, 3),
            "metrics": st.dictionaries(st.sampled_from(METRICS_USED), st.integers(-40, 40).map(lambda n: n / 4)),
        }
    ),
    min_size=1,
    max_size=10,
)


def slow_fold(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """2.2 and 3.6, one metric at a time."""
    clean = [run for run in runs if run["verdict"] == "pass" and not run["expected_failure"]]
    found: dict[str, float] = {}
    for name in METRICS_USED:
        pairs = [(run["metrics"][name], run["sample_count"]) for run in clean if name in run["metrics"]]
        numbers = [number for number, _ in pairs]
        if not numbers or name in ("rps_p50", "rps_p50_whole", "iterations_per_cpu_sec"):
            continue
        mean = sum(numbers) / len(numbers)
        if name == "total_migrations":
            found[name] = math.floor(mean + 0.5) if mean >= 0 else -math.floor(-mean + 0.5)
        elif name in ("worst_gap_ms", "worst_run_delay_us"):
            found[name] = max(numbers)
        elif name in ("total_sched_count", "total_iterations_pooled", "total_cpu_time_sec"):
            found[name] = sum(numbers)
        elif name == "avg_imbalance_ratio" and sum(weight for _, weight in pairs):
            found[name] = sum(number * weight for number, weight in pairs) / sum(weight for _, weight in pairs)
        else:
            found[name] = mean
    parts = ("total_iterations_pooled", "total_cpu_time_sec")
    both = [run["metrics"] for run in clean if all(part in run["metrics"] for part in parts)]
    below = sum(metrics[parts[1]] for metrics in both)
    if below:
        found["iterations_per_cpu_sec"] = sum(metrics[parts[0]] for metrics in both) / below
    return found


@settings(max_examples=50)
@given(RUNS)
def test_averages_are_the_specifications(runs: list[dict[str, Any]]) -> None:
    columns = ("verdict", "expected_failure", "sample_count")
    rows = [Row(run["metrics"], {name: run[name] for name in columns}) for run in runs]
    groups = averaged(*rows, key=[run["key"] for run in runs])
    for key in {run["key"] for run in runs}:
        mine = [run for run in runs if run["key"] == key]
        assert values(groups, key) == pytest.approx(slow_fold(mine))
        assert groups.rows.loc[key, "fail"] == sum(run["verdict"] == "fail" for run in mine)


@settings(max_examples=50)
@given(RUNS)
def test_every_key_at_once_is_every_key_by_itself(runs: list[dict[str, Any]]) -> None:
    clean = [run for run in runs if run["verdict"] == "pass" and not run["expected_failure"]]
    rows = [Row(run["metrics"], {"sample_count": run["sample_count"]}) for run in clean]
    if not rows:
        return
    names = {name for run in clean for name in run["metrics"]}
    arrays = {name: np.array([run["metrics"].get(name, math.nan) for run in clean]) for name in names}
    weights = np.array([run["sample_count"] for run in clean], dtype=float)
    assert values(averaged(*rows)) == pytest.approx(fold_runs(arrays, weights))
