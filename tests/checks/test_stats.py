from __future__ import annotations

import pytest

from ktstr.checks.model import WorkGroup, gather
from ktstr.checks.stats import PHASE_SAMPLES_CAP, cgroup_stats, scenario_stats
from ktstr.record.guest import Stimulus
from tests.checks.reports import MS, S, worker

WORKS = (WorkGroup(0, "a", "PipeIo", 2), WorkGroup(1, "b", "SpinWait", 1))
REPORTS = (
    worker(
        0, cpus_used=(0, 2), migration_count=3, iterations=200, cpu_time_ns=500 * MS, max_gap_ns=7 * MS, max_gap_cpu=2,
        wake_latencies_ns=(1000, 2000), wake_sample_total=2, schedstat_run_delay_ns=4000, schedstat_cpu_time_ns=S,
    ),
    worker(
        1, cpus_used=(2,), migration_count=1, iterations=200, cpu_time_ns=1_500 * MS, max_gap_ns=9_900_000,
        max_gap_cpu=1, wake_latencies_ns=(3000, 4000), wake_sample_total=2, schedstat_run_delay_ns=8000,
        schedstat_cpu_time_ns=S,
    ),
    worker(2, work_index=1, cpus_used=(5,), iterations=100, schedstat_cpu_time_ns=None, schedstat_run_delay_ns=None),
)  # fmt: skip
STEP = (
    Stimulus(0, "AddCgroup", "a", 0),
    Stimulus(10 * MS, "Release", "", 0),
    Stimulus(2_010 * MS, "StopWorkers", "", 480),
)


def test_the_statistics_of_a_group_by_hand() -> None:
    found = cgroup_stats(gather(WORKS, REPORTS)[0])
    assert (found.cgroup_name, found.cpus_used, found.num_workers, found.num_cpus) == ("a", (0, 2), 2, 2)
    assert (found.min_off_cpu_pct, found.avg_off_cpu_pct, found.max_off_cpu_pct, found.spread) == (25, 50, 75, 50)
    assert (found.max_gap_ms, found.max_gap_cpu) == (9, 1)
    assert (found.total_migrations, found.total_iterations, found.migration_ratio) == (4, 400, 0.01)
    assert (found.p99_wake_latency_us, found.median_wake_latency_us) == (4.0, 2.0)
    assert found.wake_latency_cv == pytest.approx((1.25e6) ** 0.5 / 2500)
    assert (found.mean_run_delay_us, found.worst_run_delay_us, found.total_cpu_time_ns) == (6.0, 8.0, 2 * S)


def test_what_was_not_measured_is_none_and_never_zero() -> None:
    found = cgroup_stats(gather(WORKS, REPORTS)[1])
    assert found.p99_wake_latency_us is None and found.wake_latency_cv is None
    assert found.mean_run_delay_us is None and found.total_cpu_time_ns is None and found.page_locality is None
    empty = cgroup_stats(gather(WORKS, ())[0])
    assert (empty.spread, empty.max_gap_ms, empty.migration_ratio) == (None, None, None)


def test_the_statistics_of_a_scenario_by_hand() -> None:
    found = scenario_stats(gather(WORKS, REPORTS), ())
    assert (found.total_workers, found.total_cpus, found.total_migrations, found.total_iterations) == (3, 3, 4, 500)
    assert (found.worst_spread, found.worst_migration_ratio) == (50, 0.01)
    assert (found.worst_gap_ms, found.worst_gap_cpu) == (9, 1)
    assert found.phases == ()
    assert found.ext_metrics == {
        "iterations_per_cpu_sec": 200.0,  # 400 iterations of group a in 2 CPU seconds; b was not timed
        "total_cpu_time_sec": 2.0,
        "total_iterations_pooled": 400,
        "worst_iterations_per_cpu_sec": 200.0,
        "worst_iterations_per_worker": 100.0,
        "worst_mean_run_delay_us": 6.0,
        "worst_median_wake_latency_us": 2.0,
        "worst_p99_wake_latency_us": 4.0,
        "worst_run_delay_us": 8.0,
        "worst_wake_latency_cv": pytest.approx(0.4472135955),
        "worst_wake_latency_tail_ratio": 2.0,
    }


def test_the_tail_ratio_needs_100_iterations() -> None:
    few = worker(0, iterations=99, wake_latencies_ns=(1000, 5000), wake_sample_total=2)
    assert "worst_wake_latency_tail_ratio" not in scenario_stats(gather(WORKS[:1], [few]), ()).ext_metrics


def test_the_only_step_is_one_phase_with_its_window_and_rates() -> None:
    (phase,) = scenario_stats(gather(WORKS, REPORTS), STEP).phases
    assert (phase.step_index, phase.label, phase.sample_count) == (1, "Step[0]", 0)
    assert (phase.start_ms, phase.end_ms) == (10, 2010)
    assert phase.metrics == {"total_phase_duration_sec": 2.0, "total_phase_iterations": 480, "iteration_rate": 240.0}
    a = phase.per_cgroup["a"]
    assert (a.num_workers, a.wake_latencies_ns, a.wake_sample_total) == (2, (1000, 2000, 3000, 4000), 4)
    assert (a.run_delays_ns, a.off_cpu_pcts, a.numa_pages_total) == ((4000, 8000), (75.0, 25.0), None)


def test_another_shape_of_scenario_has_no_phase() -> None:
    assert scenario_stats(gather(WORKS, REPORTS), (*STEP, STEP[1])).phases == ()
    assert scenario_stats(gather(WORKS, REPORTS), STEP[:2]).phases == ()


def test_a_phase_keeps_the_distribution_of_many_samples() -> None:
    many = worker(0, wake_latencies_ns=tuple(range(50_000)), wake_sample_total=400_000)
    (phase,) = scenario_stats(gather(WORKS[:1], [many]), STEP).phases
    kept = phase.per_cgroup["a"].wake_latencies_ns
    assert len(kept) == PHASE_SAMPLES_CAP and phase.per_cgroup["a"].wake_sample_total == 400_000
    assert abs(kept[PHASE_SAMPLES_CAP // 2] - 25_000) <= 50
