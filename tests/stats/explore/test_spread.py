from __future__ import annotations

from ktstr.checks.formulas import ranked
from ktstr.stats.explore.spread import failure_rate, spread, spreads


def test_percentiles_are_nearest_rank() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [ranked(hundred, p) for p in (1, 10, 90, 99)] == [1, 10, 90, 99]
    assert [ranked([7.0], p) for p in (1, 99)] == [7, 7]
    assert ranked([1.0, 2.0, 3.0], 90) == 3  # ceil(2.7) is the third


def test_the_spread_of_a_metric_by_hand() -> None:
    found = spread("worst_gap_ms", [40, 10, 20, 30])
    assert (found.metric, found.unit, found.better, found.seeds) == ("worst_gap_ms", "ms", "lower", 4)
    assert (found.min, found.p10, found.median, found.p90, found.p99, found.max) == (10, 10, 25, 40, 40, 40)
    assert found.spread_pct == 120  # 30 of 25


def test_a_median_of_nothing_has_no_spread_in_percent() -> None:
    assert spread("stuck_count", [0, 0, 5]).spread_pct is None


def test_what_was_not_measured_is_not_in_it_and_components_are_not_told() -> None:
    runs = [{"worst_gap_ms": 1.0, "total_cpu_time_sec": 2.0, "zz_of_a_payload": 3.0}, {"worst_gap_ms": 2.0}, {}]
    found = spreads(runs)
    assert [(one.metric, one.seeds) for one in found] == [("worst_gap_ms", 2), ("zz_of_a_payload", 1)]
    assert spreads([{}]) == ()


def test_a_rate_of_nothing_is_no_rate() -> None:
    assert failure_rate(0, 0) is None
    rate = failure_rate(1, 10)
    assert rate is not None and (rate.failed, rate.judged) == (1, 10)
    assert 0 < rate.low < 0.1 < rate.high < 0.5
