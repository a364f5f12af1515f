"""The rows of the registry of metrics, in the order in which metrics are listed.

Names, gates and units are those of the reference system. Absolute gates only guard against values near 0; what is
material is for the relative ones to say. Where one extreme sample is the whole metric, the practical floor is higher.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ktstr.record.metric import Distribution, Gauge, Kind, Metric, Polarity, Rate, WorstLowest

LOW: Polarity = "LowerBetter"
HIGH: Polarity = "HigherBetter"
INFO: Polarity = "Informational"

US = "\u00b5s"
PER_CPU = "iter/cpu-s"
OPS = "ops/cpu-s"

AVG, LAST = Gauge("Avg"), Gauge("Last")
COUNTER: Kind = "Counter"
PEAK: Kind = "Peak"
PHASE: Kind = "PerPhase"
RUN: Kind = "PerRunDistribution"

FLOOR = Metric.floor_rel
EXTREME = 0.05  # the practical floor of what one extreme sample decides


def _each(names: str, row: Metric) -> Iterable[Metric]:
    """The same row under each of several names."""
    return (replace(row, name=name) for name in names.split())


def _rate(name: str, polarity: Polarity, derivation: str, gates: tuple[float, float], unit: str = "") -> Metric:
    """A rate, whose derivation (``numerator / denominator``) is its kind too. ``gates``: absolute, relative."""
    numerator, denominator = derivation.split(" / ")
    return Metric(name, polarity, Rate(numerator, denominator), *gates, unit, derivation)


def _sampled(name: str, kind: Distribution, gates: tuple[float, float], unit: str = US) -> Metric:
    """A reduction of raw samples. ``gates``: absolute, relative."""
    floor = EXTREME if kind.reduction == "Worst" else FLOOR
    return Metric(name, LOW, kind, *gates, unit, _SAMPLES[kind.source], floor_rel=floor)


_SAMPLES = {
    "WakeLatencyNs": "pooled samples of wake-ups, weighted by population",
    "TimerLatencyNs": "pooled samples of timers",
    "RunDelayNs": "run delays, one by worker",
}


def _latencies(prefix: str, suffix: str, kind: Kind, source: str) -> Iterable[Metric]:
    """The six figures of a histogram of latencies: ``{prefix}_p50_{suffix}`` and so on."""
    for part, gates in _HISTOGRAM.items():
        floor = EXTREME if part == "max" else FLOOR
        name = f"{prefix}_{part}_{suffix}"
        yield Metric(name, LOW, kind, *gates, US, f"{source}: {part} of {prefix} latency", floor_rel=floor)


_HISTOGRAM = {
    "p50": (20.0, 0.25),
    "p90": (20.0, 0.25),
    "p99": (50.0, 0.25),
    "p999": (50.0, 0.25),
    "min": (20.0, 0.25),
    "max": (50.0, 0.5),
}

_RUN_QUEUES = (
    Metric("worst_spread", LOW, LAST, 5, 0.25, "%", "stats.worst_spread: of off-CPU time among workers of a cgroup"),
    Metric(
        "worst_gap_ms",
        LOW,
        PEAK,
        500,
        0.5,
        "ms",
        "stats.worst_gap_ms: longest scheduling gap",
        floor_rel=EXTREME,
        own_floor=2,  # whole ms, of which one may be rounding
    ),
    Metric("total_migrations", LOW, COUNTER, 2, 0.3, "", "stats.total_migrations"),
    Metric("worst_migration_ratio", LOW, LAST, 0.05, 0.2, "", "stats.worst_migration_ratio: migrations by iteration"),
    Metric("max_imbalance_ratio", LOW, PEAK, 1, 0.25, "x", "monitor: max / max(1, min) nr_running", floor_rel=EXTREME),
    Metric("avg_imbalance_ratio", LOW, AVG, 0.5, 0.25, "x", "monitor: mean of max / max(1, min) nr_running"),
    Metric("max_dsq_depth", LOW, PEAK, 10, 0.5, "", "monitor.max_local_dsq_depth", floor_rel=EXTREME),
    Metric("avg_dsq_depth", LOW, AVG, 5, 0.5, "", "monitor.avg_local_dsq_depth"),
    Metric("stuck_count", LOW, COUNTER, 1, 0.5, "", "monitor.stuck_count: CPU clocks that stood still"),
    Metric("total_fallback", LOW, COUNTER, 5, 0.3, "", "monitor.event_deltas.total_fallback"),
    Metric("total_keep_last", LOW, COUNTER, 5, 0.3, "", "monitor.event_deltas.total_dispatch_keep_last"),
)

_SCHEDSTAT = (
    Metric("total_run_delay", INFO, COUNTER, 1000, 0.1, "ns", "monitor.schedstat_deltas"),
    *_each(
        "total_pcount total_sched_count total_yld_count total_sched_goidle total_ttwu_count total_ttwu_local",
        Metric("", INFO, COUNTER, 1, 0.1, "", "monitor.schedstat_deltas"),
    ),
    _rate("total_run_delay_ns_per_sched", LOW, "total_run_delay / total_pcount", (100, 0.15), "ns"),
    _rate("ttwu_local_fraction", HIGH, "total_ttwu_local / total_ttwu_count", (0.05, 0.1)),
    _rate("sched_goidle_fraction", INFO, "total_sched_goidle / total_sched_count", (0.05, 0.1)),
    Metric("total_schedstat_wall_sec", INFO, COUNTER, 0.1, 0.3, "s", "monitor.schedstat_deltas.wall_sec"),
    _rate("run_delay_per_sec", LOW, "total_run_delay / total_schedstat_wall_sec", (1000, 0.3), "ns/s"),
    _rate("pcount_per_sec", INFO, "total_pcount / total_schedstat_wall_sec", (1, 0.3), "/s"),
    _rate("sched_count_per_sec", INFO, "total_sched_count / total_schedstat_wall_sec", (1, 0.3), "/s"),
    _rate("yld_count_per_sec", INFO, "total_yld_count / total_schedstat_wall_sec", (1, 0.3), "/s"),
    _rate("ttwu_count_per_sec", INFO, "total_ttwu_count / total_schedstat_wall_sec", (1, 0.3), "/s"),
    _rate("sched_goidle_per_sec", INFO, "total_sched_goidle / total_schedstat_wall_sec", (1, 0.3), "/s"),
    Metric("avg_nr_running", LOW, AVG, 0.5, 0.2, "", "monitor.avg_nr_running"),
)

_LATENCIES = (
    _sampled("worst_p99_wake_latency_us", Distribution("WakeLatencyNs", "P99"), (50, 0.25)),
    _sampled("worst_median_wake_latency_us", Distribution("WakeLatencyNs", "Median"), (20, 0.25)),
    _sampled("worst_wake_latency_cv", Distribution("WakeLatencyNs", "Cv"), (0.1, 0.25), ""),
    _sampled("worst_p99_timer_latency_us", Distribution("TimerLatencyNs", "P99"), (50, 0.25)),
    _sampled("worst_median_timer_latency_us", Distribution("TimerLatencyNs", "Median"), (20, 0.25)),
    _sampled("worst_p999_timer_latency_us", Distribution("TimerLatencyNs", "P999"), (100, 0.25)),
    _sampled("worst_timer_latency_us", Distribution("TimerLatencyNs", "Worst"), (200, 0.25)),
)

_THROUGHPUT = (
    _rate("iteration_rate", HIGH, "total_phase_iterations / total_phase_duration_sec", (1, 0.3), "iter/s"),
    Metric("total_iterations", HIGH, COUNTER, 2, 0.1, "", "stats.total_iterations"),
    Metric("total_phase_iterations", HIGH, COUNTER, 1, 0.1, "", "iterations of a phase", rendered=False),
    Metric("total_phase_duration_sec", HIGH, COUNTER, 1, 0.3, "s", "length of a phase", rendered=False),
    Metric("total_cpu_time_sec", HIGH, COUNTER, 1, 0.3, "s", "CPU time of cgroups that have any", rendered=False),
    Metric("total_iterations_pooled", HIGH, COUNTER, 1, 0.1, "", "iterations of the same cgroups", rendered=False),
    _rate("iterations_per_cpu_sec", HIGH, "total_iterations_pooled / total_cpu_time_sec", (10, 0.1), PER_CPU),
    *_each("system_time_ns user_time_ns", Metric("", LOW, "PerPhaseDeltaSum", 1000, 0.3, "ns", "of the thread group")),
)

_INTERRUPTS = (
    *_each(
        "total_hardirqs total_softirq_net_rx total_softirq_net_tx total_softirq_timer total_softirq_sched",
        Metric("", INFO, COUNTER, 10, 0.5, "", "kernel_stat, summed over CPUs"),
    ),
    *_each(
        "total_irq_time_ns total_softirq_time_ns total_steal_time_ns",
        Metric("", INFO, COUNTER, 1000, 0.5, "ns", "kernel_cpustat, summed over CPUs"),
    ),
    Metric("avg_irq_util", LOW, AVG, 20, 0.3, "", "PELT irq utilisation, 0 to 1024"),
    Metric("max_avg_irq_util", LOW, PEAK, 50, 0.3, "", "PELT irq utilisation of the busiest CPU", floor_rel=EXTREME),
    _rate("hardirq_rate", INFO, "total_hardirqs / total_phase_wall_sec", (1, 0.3), "irq/s"),
    _rate("net_rx_softirq_rate", INFO, "total_softirq_net_rx / total_phase_wall_sec", (1, 0.3), "softirq/s"),
    _rate("irq_time_fraction", LOW, "total_irq_time_ns / total_phase_wall_ns", (0.02, 0.3)),
    Metric("total_phase_wall_sec", INFO, COUNTER, 0.1, 0.3, "s", "capture window"),
    Metric("total_phase_wall_ns", INFO, COUNTER, 1000, 0.3, "ns", "capture window"),
    Metric("max_cpu_hardirqs", INFO, PEAK, 10, 0.5, "", "of the busiest CPU", floor_rel=EXTREME),
    Metric("max_cpu_hardirq_concentration", LOW, PEAK, 1, 0.25, "x", "max / mean over CPUs", floor_rel=EXTREME),
    Metric("max_cpu_softirq_net_rx", INFO, PEAK, 10, 0.5, "", "of the busiest CPU", floor_rel=EXTREME),
    Metric("max_cpu_softirq_net_rx_concentration", LOW, PEAK, 1, 0.25, "x", "max / mean over CPUs", floor_rel=EXTREME),
    Metric(
        "avg_cpu_util_comp_scale",
        LOW,
        AVG,
        0.5,
        0.3,
        "x",
        "total / (total - irq - softirq - steal), held to 1 to 20, mean over CPUs",
    ),
    Metric("avg_task_lat_cri", INFO, AVG, 50, 0.3, "", "normalized_lat_cri of scx_lavd"),
    Metric("max_task_lat_cri", INFO, PEAK, 100, 0.3, "", "normalized_lat_cri of scx_lavd", floor_rel=EXTREME),
    Metric("max_cgroup_irq_pressure", INFO, PEAK, 1, 0.5, US, "PSI irq full, busiest leaf", floor_rel=EXTREME),
    Metric(
        "max_cgroup_irq_pressure_concentration", LOW, PEAK, 1, 0.25, "x", "max / mean over leaves", floor_rel=EXTREME
    ),
    Metric("max_cgroup_psi_irq_avg10", LOW, PEAK, 5, 0.3, "%", "PSI irq full of cgroups", floor_rel=EXTREME),
    Metric("psi_irq_full_avg10", LOW, AVG, 5, 0.3, "%", "PSI irq full of the system"),
    Metric("total_irq_pressure_us", INFO, COUNTER, 1, 0.5, US, "PSI irq full of the system"),
)

_WORST = (
    _sampled("worst_mean_run_delay_us", Distribution("RunDelayNs", "Mean"), (50, 0.25)),
    _sampled("worst_run_delay_us", Distribution("RunDelayNs", "Worst"), (100, 0.5)),
    Metric(
        "worst_wake_latency_tail_ratio",
        LOW,
        "WakeLatencyTailRatio",
        0.5,
        0.25,
        "x",
        "largest p99 / median of a cgroup; absent below 100 iterations",
    ),
    Metric(
        "worst_iterations_per_worker", HIGH, WorstLowest("Iterations", "NumWorkers"), 10, 0.1, "", "lowest of a cgroup"
    ),
    Metric(
        "worst_iterations_per_cpu_sec",
        HIGH,
        WorstLowest("Iterations", "CpuTimeNs"),
        10,
        0.1,
        PER_CPU,
        "lowest of a cgroup; says the same on an overcommitted host",
    ),
    Metric("worst_page_locality", HIGH, WorstLowest("NumaLocal", "NumaTotal"), 0.05, 0.1, "", "lowest of a cgroup"),
    Metric("worst_cross_node_migration_ratio", LOW, "WorstCrossNodeRatio", 0.05, 0.2, "", "largest of a cgroup"),
)

_SCHBENCH_PHASES = (
    *_each(
        "wakeup_p50_latency_us wakeup_p90_latency_us request_p50_latency_us request_p90_latency_us",
        Metric("", LOW, PHASE, 20, 0.25, US, "schbench"),
    ),
    *_each(
        "wakeup_p99_latency_us wakeup_p999_latency_us request_p99_latency_us request_p999_latency_us"
        " sched_delay_msg_us sched_delay_worker_us",
        Metric("", LOW, PHASE, 50, 0.25, US, "schbench"),
    ),
    Metric("schbench_loop_count", HIGH, PHASE, 1, 0.3, "", "schbench"),
)

_TAOBENCH = (
    *_each("taobench_total_qps taobench_fast_qps", Metric("", HIGH, PHASE, 10, 0.1, OPS, "taobench")),
    Metric("taobench_slow_qps", INFO, PHASE, 10, 0.1, OPS, "taobench"),
    *_each("taobench_hit_ratio taobench_hit_rate", Metric("", INFO, PHASE, 0.02, 0.05, "", "taobench")),
    *_each(
        "taobench_serve_p50_us taobench_serve_p90_us taobench_serve_min_us",
        Metric("", LOW, PHASE, 20, 0.25, US, "taobench"),
    ),
    *_each("taobench_serve_p99_us taobench_serve_p999_us", Metric("", LOW, PHASE, 50, 0.25, US, "taobench")),
    Metric("taobench_serve_max_us", LOW, PHASE, 50, 0.5, US, "taobench", floor_rel=EXTREME),
    *_each(
        "total_taobench_ops total_taobench_fast_ops",
        Metric("", HIGH, COUNTER, 10, 0.1, "", "taobench", rendered=False),
    ),
    Metric("total_taobench_slow_ops", INFO, COUNTER, 10, 0.1, "", "taobench", rendered=False),
    *_each(
        "total_taobench_wall_sec total_taobench_cpu_sec",
        Metric("", HIGH, COUNTER, 1, 0.3, "s", "taobench", rendered=False),
    ),
    _rate("taobench_total_ops_per_sec", HIGH, "total_taobench_ops / total_taobench_cpu_sec", (10, 0.1), OPS),
    _rate("taobench_fast_ops_per_sec", HIGH, "total_taobench_fast_ops / total_taobench_cpu_sec", (10, 0.1), OPS),
    _rate("taobench_slow_ops_per_sec", INFO, "total_taobench_slow_ops / total_taobench_cpu_sec", (10, 0.1), OPS),
    _rate("taobench_hit_fraction", INFO, "total_taobench_fast_ops / total_taobench_ops", (0.02, 0.05)),
    *_each(
        "taobench_serve_p50_us_whole taobench_serve_p90_us_whole taobench_serve_min_us_whole",
        Metric("", LOW, RUN, 20, 0.25, US, "taobench"),
    ),
    *_each("taobench_serve_p99_us_whole taobench_serve_p999_us_whole", Metric("", LOW, RUN, 50, 0.25, US, "taobench")),
    Metric("taobench_serve_max_us_whole", LOW, RUN, 50, 0.5, US, "taobench", floor_rel=EXTREME),
    *_each(
        "total_taobench_get_cmds total_taobench_get_hits",
        Metric("", HIGH, COUNTER, 10, 0.1, "", "taobench", rendered=False),
    ),
    _rate("taobench_command_hit_rate", INFO, "total_taobench_get_hits / total_taobench_get_cmds", (0.02, 0.05)),
)

_SCHBENCH = (
    *_each(
        "total_schbench_msg_run_delay_ns total_schbench_worker_run_delay_ns",
        Metric("", LOW, COUNTER, 1000, 0.1, "ns", "schbench", rendered=False),
    ),
    *_each(
        "total_schbench_msg_pcount total_schbench_worker_pcount",
        Metric("", INFO, COUNTER, 1, 0.1, "", "schbench", rendered=False),
    ),
    Metric("total_schbench_loops", HIGH, COUNTER, 1, 0.1, "", "schbench"),
    Metric("total_schbench_worker_cpu_sec", HIGH, COUNTER, 1, 0.3, "s", "schbench", rendered=False),
    _rate(
        "schbench_total_loops_per_cpu_sec", HIGH, "total_schbench_loops / total_schbench_worker_cpu_sec", (1, 0.1), OPS
    ),
    Metric("schbench_loops_per_cpu_sec", HIGH, PHASE, 1, 0.3, OPS, "schbench"),
    _rate(
        "schbench_msg_run_delay_ns_per_sched",
        LOW,
        "total_schbench_msg_run_delay_ns / total_schbench_msg_pcount",
        (100, 0.1),
        "ns",
    ),
    _rate(
        "schbench_worker_run_delay_ns_per_sched",
        LOW,
        "total_schbench_worker_run_delay_ns / total_schbench_worker_pcount",
        (100, 0.1),
        "ns",
    ),
    *_each("wakeup_min_latency_us request_min_latency_us", Metric("", LOW, PHASE, 20, 0.25, US, "schbench")),
    *_each(
        "wakeup_max_latency_us request_max_latency_us",
        Metric("", LOW, PHASE, 50, 0.5, US, "schbench", floor_rel=EXTREME),
    ),
    *_each("rps_p20 rps_p50 rps_p90 rps_min rps_max", Metric("", HIGH, PHASE, 10, 0.1, "req/s", "schbench")),
    *_latencies("wakeup", "latency_us_whole", RUN, "schbench"),
    *_latencies("request", "latency_us_whole", RUN, "schbench"),
    *_each(
        "rps_p20_whole rps_p50_whole rps_p90_whole rps_min_whole rps_max_whole",
        Metric("", HIGH, RUN, 10, 0.1, "req/s", "schbench"),
    ),
)

_CGROUPS = (
    Metric("p99_wake_latency_us", LOW, PHASE, 50, 0.25, US, "of a cgroup"),
    Metric("median_wake_latency_us", LOW, PHASE, 20, 0.25, US, "of a cgroup"),
    Metric("wake_latency_cv", LOW, PHASE, 0.1, 0.25, "", "of a cgroup"),
    Metric("p99_timer_latency_us", LOW, PHASE, 50, 0.25, US, "of a cgroup"),
    Metric("median_timer_latency_us", LOW, PHASE, 20, 0.25, US, "of a cgroup"),
    Metric("p999_timer_latency_us", LOW, PHASE, 100, 0.25, US, "of a cgroup"),
    Metric("mean_run_delay_us", LOW, PHASE, 50, 0.25, US, "of a cgroup"),
    Metric("max_run_delay_us", LOW, PHASE, 100, 0.5, US, "of a cgroup", floor_rel=EXTREME),
    *_each(
        "avg_off_cpu_pct min_off_cpu_pct max_off_cpu_pct off_cpu_spread_pct",
        Metric("", LOW, PHASE, 5, 0.25, "%", "of a cgroup's workers"),
    ),
    Metric("migration_ratio", LOW, PHASE, 0.05, 0.2, "", "of a cgroup: migrations by iteration"),
    Metric("iterations_per_worker", HIGH, PHASE, 10, 0.1, "", "of a cgroup"),
    Metric("page_locality", HIGH, PHASE, 0.05, 0.1, "", "of a cgroup"),
    Metric("cross_node_migration_ratio", LOW, PHASE, 0.05, 0.2, "", "of a cgroup"),
    Metric("total_cpu_time_ns", HIGH, COUNTER, 100, 0.1, "ns", "of a cgroup"),
)

ROWS: tuple[Metric, ...] = (
    *_RUN_QUEUES,
    *_SCHEDSTAT,
    *_LATENCIES,
    *_THROUGHPUT,
    *_INTERRUPTS,
    *_WORST,
    *_SCHBENCH_PHASES,
    *_TAOBENCH,
    *_SCHBENCH,
    *_CGROUPS,
)
