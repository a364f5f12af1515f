"""The statistics of one run: per group of workers, per phase, and of the whole scenario.

Names and folds are those of the sidecar. A number nobody measured is None, or an absent key of ``ext_metrics``; 0
always means that 0 was measured. ms and us are of guest time.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count, Cpus, Number, Percent, refuse_repeats

Metrics: TypeAlias = Annotated[
    dict[str, Number], Meta(description="metric name to value; an absent key was not measured")
]
PhaseLabel: TypeAlias = Annotated[str, Meta(pattern=r"^(BASELINE|Step\[[0-9]+\])$")]
PhaseIndex: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]


class CgroupStats(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Workers of one cgroup that are judged together; a cgroup may have several such groups. Null: not measured."""

    cgroup_name: str
    cpus_used: Cpus
    num_workers: Count
    num_cpus: Count
    avg_off_cpu_pct: Percent | None
    min_off_cpu_pct: Percent | None
    max_off_cpu_pct: Percent | None
    spread: Percent | None
    max_gap_ms: Count | None
    max_gap_cpu: Count | None
    total_migrations: Count
    migration_ratio: Number | None
    p99_wake_latency_us: Number | None
    median_wake_latency_us: Number | None
    wake_latency_cv: Number | None
    total_iterations: Count
    total_cpu_time_ns: Count | None
    mean_run_delay_us: Number | None
    worst_run_delay_us: Number | None
    page_locality: Number | None
    cross_node_migration_ratio: Number | None
    ext_metrics: Metrics

    def __post_init__(self) -> None:
        refuse_repeats("cpus_used", self.cpus_used)

    @property
    def wake_latency_tail_ratio(self) -> float | None:
        """p99 over median; None without samples or with a median of 0."""
        if not self.p99_wake_latency_us or not self.median_wake_latency_us:
            return None
        return self.p99_wake_latency_us / self.median_wake_latency_us


class PhaseCgroup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The raw components of one cgroup in one phase, mergeable with those of other runs."""

    num_workers: Count
    cpus_used: Cpus
    wake_latencies_ns: tuple[Count, ...]
    wake_sample_total: Count
    run_delays_ns: tuple[Count, ...]
    off_cpu_pcts: tuple[Percent, ...]
    total_migrations: Count
    total_iterations: Count
    total_cpu_time_ns: Count | None
    numa_pages_local: Count | None
    numa_pages_total: Count | None
    cross_node_migrated: Count | None
    max_gap_ms: Count | None
    max_gap_cpu: Count | None
    stripped: bool
    metrics: Metrics

    def __post_init__(self) -> None:
        refuse_repeats("cpus_used", self.cpus_used)


class Phase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step of the scenario: ``[start_ms, end_ms]`` since its start. ``sample_count`` counts monitor samples."""

    step_index: PhaseIndex
    label: PhaseLabel
    start_ms: Count
    end_ms: Count
    sample_count: Count
    metrics: Metrics
    per_cgroup: dict[str, PhaseCgroup]


class ScenarioStats(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole scenario. Totals are sums over groups, worsts the worst group's."""

    cgroups: tuple[CgroupStats, ...]
    total_workers: Count
    total_cpus: Count
    total_migrations: Count
    total_iterations: Count
    worst_spread: Percent | None
    worst_gap_ms: Count | None
    worst_gap_cpu: Count | None
    worst_migration_ratio: Number | None
    ext_metrics: Metrics
    phases: tuple[Phase, ...]


NOTHING_RAN = ScenarioStats(
    cgroups=(),
    total_workers=0,
    total_cpus=0,
    total_migrations=0,
    total_iterations=0,
    worst_spread=None,
    worst_gap_ms=None,
    worst_gap_cpu=None,
    worst_migration_ratio=None,
    ext_metrics={},
    phases=(),
)
