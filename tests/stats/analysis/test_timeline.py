"""Steps and samples laid over each other, and what changed from one step to the next."""

from __future__ import annotations

import pytest

from ktstr.record.sidecar import StimulusEvent
from ktstr.stats.analysis.timeline import Change, Context, CpuReading, MonitorSample, build_timeline, to_text


def event(
    ms: int, label: str = "StepStart[0]", iterations: int | None = None, detail: str | None = None
) -> StimulusEvent:
    return StimulusEvent(elapsed_ms=ms, label=label, op_kind="Op", detail=detail, total_iterations=iterations)


def sample(
    ms: int, running: tuple[int, ...] = (1, 1), dsq: int = 0, fallback: int | None = None, keep_last: int | None = None
) -> MonitorSample:
    cpus = tuple(CpuReading(n, dsq, ms) for n in running)
    return MonitorSample(ms, cpus, fallback, keep_last)


def changes(*before_and_after: MonitorSample, iterations: tuple[int, int, int] = (0, 0, 0)) -> tuple[Change, ...]:
    """What changed from the window of the first half of the samples to that of the second."""
    events = [
        event(0, iterations=iterations[0]),
        event(1000, iterations=iterations[1]),
        event(2000, iterations=iterations[2]),
    ]
    return build_timeline(events, before_and_after)[1].changes


def pair(**after: int) -> tuple[Change, ...]:
    """Windows of two samples each: 1000 ms to 1900 ms, 2000 ms to 2900 ms."""
    base = dict.fromkeys(("dsq", "fallback", "keep_last"), 0)
    return changes(
        sample(1000, (1, 1), **base),
        sample(1900, (1, 1), **base),
        sample(2000, (1, 1), **{**base, "dsq": after.get("dsq", 0)}),
        sample(2900, (1, 1), **{**base, **after}),
    )


def test_without_steps_or_without_samples_there_is_no_timeline() -> None:
    assert build_timeline([], [sample(1000)]) == build_timeline([event(0)], []) == ()
    assert to_text((), Context()) == ""


def test_steps_are_laid_over_the_first_sample_with_cpus_after_half_a_second() -> None:
    samples = [sample(100), sample(400), MonitorSample(550, ()), sample(600), sample(1600), sample(1700)]
    first, second = build_timeline([event(50), event(1050)], samples)
    assert (first.duration_ms, first.samples) == (1000, 1)  # 600 to 1600
    assert (second.duration_ms, second.samples) == (101, 2)  # 1600 to the last sample and 1


def test_without_a_late_sample_the_first_one_serves() -> None:
    (only,) = build_timeline([event(10)], [sample(100), sample(200)])
    assert (only.duration_ms, only.samples) == (101, 2)


def test_steps_are_sorted_by_time() -> None:
    windows = build_timeline([event(1000, "b"), event(0, "a")], [sample(600), sample(2000)])
    assert [window.event.label for window in windows] == ["a", "b"]


def test_a_window_says_how_uneven_and_how_deep_its_runqueues_were() -> None:
    (only,) = build_timeline([event(0)], [sample(600, (4, 1), dsq=2), sample(700, (2, 0), dsq=4), sample(800, (0, 0))])
    assert (only.avg_imbalance, only.max_imbalance) == (2.0, 4.0)  # 4/1, 2/max(1, 0), 0/max(1, 0)
    assert (only.avg_dsq_depth, only.max_dsq_depth) == (2.0, 4)


@pytest.mark.parametrize(("depth", "samples"), [(10_000, 2), (10_001, 1)])
def test_a_sample_with_an_implausible_dsq_is_left_out(depth: int, samples: int) -> None:
    (only,) = build_timeline([event(0)], [sample(600), sample(700, dsq=depth)])
    assert only.samples == samples


def test_a_clock_that_stands_still_is_counted_but_for_idle_cpus() -> None:
    before = MonitorSample(600, (CpuReading(1, 0, 5), CpuReading(0, 0, 5), CpuReading(1, 0, 5)))
    after = MonitorSample(700, (CpuReading(1, 0, 5), CpuReading(0, 0, 5), CpuReading(1, 0, 6)))
    (only,) = build_timeline([event(0)], [before, after])
    assert only.stuck == 1
    assert "  stalls: 1\n" in to_text((only,), Context())


def test_a_counter_that_was_set_back_grew_by_nothing() -> None:
    (only,) = build_timeline([event(0)], [sample(600, fallback=50), sample(1600, fallback=5)])
    assert (only.fallback_rate, only.keep_last_rate) == (0.0, None)


@pytest.mark.parametrize(
    ("metric", "at", "beyond", "delta"),
    [("dsq_depth", {"dsq": 3}, {"dsq": 4}, 4.0), ("fallback", {"fallback": 9}, {"fallback": 10}, 10 / 0.9),
     ("keep_last", {"keep_last": 9}, {"keep_last": 10}, 10 / 0.9)],
)  # fmt: skip
def test_a_change_has_to_exceed_its_threshold(
    metric: str, at: dict[str, int], beyond: dict[str, int], delta: float
) -> None:
    """3 is not above 3.0; 9 in 0.9 s are 10 a second, which is not above 10.0."""
    assert pair(**at) == ()
    (change,) = pair(**beyond)
    assert (change.metric, change.worse) == (metric, True)
    assert change.delta == pytest.approx(delta)


def test_imbalance_has_to_grow_by_more_than_a_half() -> None:
    assert changes(sample(1000, (2, 2)), sample(2000, (3, 2))) == ()
    assert changes(sample(1000, (2, 2)), sample(2000, (4, 2))) == (Change("imbalance", 1.0, True),)
    assert changes(sample(1000, (4, 2)), sample(2000, (2, 2))) == (Change("imbalance", -1.0, False),)


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (700, ()),
        (1300, ()),
        (699, (Change("throughput", -301.0, True),)),
        (1301, (Change("throughput", 301.0, False),)),
    ],
)
def test_throughput_has_to_change_by_more_than_three_tenths(second: int, found: tuple[Change, ...]) -> None:
    assert changes(sample(1000), sample(2000), iterations=(0, 1000, 1000 + second)) == found


def test_iterations_that_did_not_grow_are_no_throughput() -> None:
    windows = build_timeline(
        [event(0, iterations=5), event(1000, iterations=5), event(2000)], [sample(600), sample(3000)]
    )
    assert [window.throughput for window in windows] == [None, None, None]


def test_a_window_without_samples_is_compared_with_nothing() -> None:
    windows = build_timeline([event(0), event(10), event(20)], [sample(600, (2, 2)), sample(620, (8, 2))])
    assert [window.samples for window in windows] == [1, 0, 1]
    assert [window.changes for window in windows] == [(), (), ()]
    assert "Phase 1: StepStart[0] Op (10ms, 0 samples):\n  >>> StepStart[0]: Op\n  [no samples]\n" in to_text(
        windows, Context()
    )


def test_the_text_is_as_documented() -> None:
    events = [
        event(0, "ScenarioStart", 0),
        event(1000, "StepStart[0]", 1000, "4 cpus"),
        event(2000, "StepEnd[0]", 1500),
    ]
    samples = [
        sample(1000, fallback=0, keep_last=0), sample(1900, fallback=0, keep_last=0),
        sample(2000, (4, 1), 5, 0, 0), sample(2900, (4, 1), 5, 90, 18), sample(3000, (1, 1), 0, 90, 18),
    ]  # fmt: skip
    context = Context("7.2", "1n2l2c1t", "scx_ktstr", "steady", 2.04)
    assert to_text(build_timeline(events, samples), context) == (
        "--- timeline ---\n"
        "kernel: 7.2  topology: 1n2l2c1t  scheduler: scx_ktstr  scenario: steady  duration: 2.0s\n"
        "BASELINE (settle, 1000ms, 2 samples):\n"
        "  imbalance: avg=1.0 max=1.0 | dsq: avg=0 max=0 | throughput: 1000 iter/s\n"
        "Phase 1: StepStart[0] Op (1000ms, 2 samples):\n"
        "  >>> StepStart[0]: Op (4 cpus)\n"
        "  imbalance: avg=4.0 max=4.0 | dsq: avg=5 max=5 | fallback: 100/s | keep_last: 20/s | throughput: 500 iter/s\n"
        "  >>> DEGRADATION: imbalance +3.0\n"
        "  >>> DEGRADATION: dsq_depth +5.0\n"
        "  >>> DEGRADATION: fallback +100.0\n"
        "  >>> DEGRADATION: keep_last +20.0\n"
        "  >>> DEGRADATION: throughput -500.0\n"
        "Phase 2: StepEnd[0] Op (1ms, 1 samples):\n"
        "  >>> StepEnd[0]: Op\n"
        "  imbalance: avg=1.0 max=1.0 | dsq: avg=0 max=0\n"
        "  >>> IMPROVEMENT: imbalance -3.0\n"
        "  >>> IMPROVEMENT: dsq_depth -5.0\n"
    )


def test_parts_of_the_header_that_are_not_known_are_left_out() -> None:
    windows = build_timeline([event(0)], [sample(600)])
    assert to_text(windows, Context(scheduler="eevdf")).splitlines()[1] == "scheduler: eevdf"
    assert to_text(windows, Context()).splitlines()[1].startswith("BASELINE")
