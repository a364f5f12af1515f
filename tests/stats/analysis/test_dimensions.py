"""Verdicts counted and measurements averaged, by one dimension."""

from __future__ import annotations

from ktstr.stats.analysis.dimensions import Group, summarize, to_text
from tests.stats.analysis.frames import Row, runs_of, wide_of

NOTHING = dict.fromkeys(("spread", "gap", "imbalance", "dsq", "stuck", "fallback"))


def test_a_failed_row_with_all_metrics_is_as_documented() -> None:
    wide = wide_of(
        1, worst_spread=[20.0], worst_gap_ms=[200.0], max_imbalance_ratio=[2.5], max_dsq_depth=[8.0],
        stuck_count=[2.0], total_fallback=[15.0],
    )  # fmt: skip
    found = summarize(runs_of(Row("slow", verdict="fail")), wide, "test_name")
    assert to_text("By scenario (worst first):", found) == (
        "\nBy scenario (worst first):\n"
        "  slow                      0/1 passed (0 skipped, 0 inconclusive, 1 failed)"
        "  avg_spread=20.0%  avg_gap=200ms  imbal=2.5  dsq=8  stuck=2  fallback=15\n"
    )


def test_slow_comes_before_fast_and_equal_ones_by_name() -> None:
    runs = runs_of(Row("fast"), Row("b"), Row("slow"), Row("a"), Row("unmeasured"))
    wide = wide_of(5, worst_spread=[5.0, 7.0, 20.0, 7.0, None])
    assert [group.name for group in summarize(runs, wide, "test_name")] == ["slow", "a", "b", "fast", "unmeasured"]


def test_each_verdict_is_counted_apart() -> None:
    rows = [Row(verdict=verdict) for verdict in ("pass", "pass", "skip", "inconclusive", "fail", "fail", "fail")]
    (found,) = summarize(runs_of(*rows), wide_of(7), "test_name")
    assert found == Group("steady", 7, 2, 1, 1, 3, **NOTHING)
    assert "2/7 passed (1 skipped, 1 inconclusive, 3 failed)  avg_spread=-  avg_gap=-\n" in to_text("x", [found])


def test_averages_are_over_rows_of_any_verdict_that_measured_and_stuck_is_a_sum() -> None:
    rows = [Row(verdict="fail"), Row(), Row(verdict="skip")]
    wide = wide_of(3, worst_spread=[10.0, 20.0, None], stuck_count=[1.0, 2.0, None], total_fallback=[4.0, 6.0, None])
    (found,) = summarize(runs_of(*rows), wide, "test_name")
    assert (found.spread, found.stuck, found.fallback) == (15.0, 3.0, 5.0)


def test_what_is_nothing_is_not_said() -> None:
    wide = wide_of(
        1, worst_spread=[0.0], worst_gap_ms=[0.4], max_imbalance_ratio=[1.0], max_dsq_depth=[0.0], stuck_count=[0.0],
        total_fallback=[0.0],
    )  # fmt: skip
    text = to_text("x", summarize(runs_of(Row()), wide, "topology"))
    assert text.endswith("failed)  avg_spread=0.0%  avg_gap=0ms\n")
