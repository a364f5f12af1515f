"""The statistics of a run that its sidecar carries (``record.statistics``), from its groups of workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.checks import formulas
from ktstr.checks.formulas import MS, NS
from ktstr.checks.model import Group
from ktstr.record.guest import Stimulus, WorkerReport
from ktstr.record.metrics import TAIL_RATIO_MIN_ITERATIONS
from ktstr.record.statistics import CgroupStats, Phase, PhaseCgroup, ScenarioStats

PHASE_SAMPLES_CAP = 1000  # the record keeps them all; a phase keeps their distribution
US = 1000


def _us(ns: float | None) -> float | None:
    return None if ns is None else ns / US


def _run_delays(reports: Iterable[WorkerReport]) -> list[int]:
    return [r.schedstat_run_delay_ns for r in reports if r.schedstat_run_delay_ns is not None]


def _cpu_time(reports: Iterable[WorkerReport]) -> int | None:
    measured = [r.schedstat_cpu_time_ns for r in reports if r.schedstat_cpu_time_ns is not None]
    return sum(measured) if measured else None


def _cpus_used(reports: Iterable[WorkerReport]) -> tuple[int, ...]:
    return tuple(sorted({cpu for r in reports for cpu in r.cpus_used}))


def _ratio(part: float, whole: float | None) -> float | None:
    return part / whole if whole else None


def _largest_gap(reports: Sequence[WorkerReport]) -> WorkerReport | None:
    return max((r for r in reports if r.wall_time_ns), key=lambda r: r.max_gap_ns, default=None)


def cgroup_stats(group: Group) -> CgroupStats:
    """The statistics of one group."""
    reports = group.reports
    shares = [pct for r in reports if (pct := formulas.off_cpu_pct(r)) is not None]
    samples = group.wakes
    delays = _run_delays(reports)
    migrations, iterations = sum(r.migration_count for r in reports), sum(r.iterations for r in reports)
    gap, cpus = _largest_gap(reports), _cpus_used(reports)
    return CgroupStats(
        cgroup_name=group.cgroup,
        cpus_used=cpus,
        num_workers=len(reports),
        num_cpus=len(cpus),
        avg_off_cpu_pct=_ratio(sum(shares), len(shares)),
        min_off_cpu_pct=min(shares, default=None),
        max_off_cpu_pct=max(shares, default=None),
        spread=max(shares) - min(shares) if shares else None,
        max_gap_ms=gap.max_gap_ns // MS if gap else None,
        max_gap_cpu=gap.max_gap_cpu if gap else None,
        total_migrations=migrations,
        migration_ratio=_ratio(migrations, iterations),
        p99_wake_latency_us=_us(formulas.nearest_rank(samples, 99)),
        median_wake_latency_us=_us(formulas.nearest_rank(samples, 50)),
        wake_latency_cv=formulas.cv(samples.values, samples.weights),
        total_iterations=iterations,
        total_cpu_time_ns=_cpu_time(reports),
        mean_run_delay_us=_us(_ratio(sum(delays), len(delays))),
        worst_run_delay_us=_us(max(delays, default=None)),
        page_locality=None,
        cross_node_migration_ratio=None,
        ext_metrics={},
    )


def _pooled_efficiency(cgroups: Sequence[CgroupStats]) -> dict[str, float | None]:
    """Iterations per CPU second over the groups whose CPU time was measured and is not 0."""
    timed = [c for c in cgroups if c.total_cpu_time_ns]
    if not timed:
        return {}
    iterations = sum(c.total_iterations for c in timed)
    seconds = sum(c.total_cpu_time_ns or 0 for c in timed) / NS
    rates = [c.total_iterations * NS / c.total_cpu_time_ns for c in timed if c.total_cpu_time_ns]
    return {
        "total_iterations_pooled": iterations,
        "total_cpu_time_sec": seconds,
        "iterations_per_cpu_sec": iterations / seconds,
        "worst_iterations_per_cpu_sec": min(rates),
    }


def _all_wakes(groups: Sequence[Group]) -> formulas.Samples:
    if len(groups) == 1:
        return groups[0].wakes
    return formulas.pooled_wakes(r for group in groups for r in group.reports)


def ext_metrics(groups: Sequence[Group], cgroups: Sequence[CgroupStats], phases: Sequence[Phase]) -> dict[str, float]:
    """Run-level metrics by name; a metric without a measurement has no key."""
    reports = [r for group in groups for r in group.reports]
    samples, delays = _all_wakes(groups), _run_delays(reports)
    iterations = sum(c.total_iterations for c in cgroups)
    tails = [ratio for c in cgroups if (ratio := c.wake_latency_tail_ratio) is not None]
    per_worker = [c.total_iterations / c.num_workers for c in cgroups if c.num_workers]
    metrics: dict[str, float | None] = {
        "worst_p99_wake_latency_us": _us(formulas.nearest_rank(samples, 99)),
        "worst_median_wake_latency_us": _us(formulas.nearest_rank(samples, 50)),
        "worst_wake_latency_cv": formulas.cv(samples.values, samples.weights),
        "worst_mean_run_delay_us": _us(_ratio(sum(delays), len(delays))),
        "worst_run_delay_us": _us(max(delays, default=None)),
        "worst_wake_latency_tail_ratio": max(tails, default=None) if iterations >= TAIL_RATIO_MIN_ITERATIONS else None,
        "worst_iterations_per_worker": min(per_worker, default=None),
        **_pooled_efficiency(cgroups),
    }
    for phase in phases:
        metrics |= phase.metrics
    return {name: value for name, value in sorted(metrics.items()) if value is not None}


def _phase_cgroup(groups: Sequence[Group]) -> PhaseCgroup:
    reports = [r for group in groups for r in group.reports]
    gap, kept = _largest_gap(reports), formulas.thin(_all_wakes(groups), PHASE_SAMPLES_CAP)
    return PhaseCgroup(
        num_workers=len(reports),
        cpus_used=_cpus_used(reports),
        wake_latencies_ns=kept,
        wake_sample_total=sum(max(r.wake_sample_total, len(r.wake_latencies_ns)) for r in reports),
        run_delays_ns=tuple(_run_delays(reports)),
        off_cpu_pcts=tuple(pct for r in reports if (pct := formulas.off_cpu_pct(r)) is not None),
        total_migrations=sum(r.migration_count for r in reports),
        total_iterations=sum(r.iterations for r in reports),
        total_cpu_time_ns=_cpu_time(reports),
        numa_pages_local=None,
        numa_pages_total=None,
        cross_node_migrated=None,
        max_gap_ms=gap.max_gap_ns // MS if gap else None,
        max_gap_cpu=gap.max_gap_cpu if gap else None,
        stripped=False,
        metrics={},
    )


@dataclass(frozen=True)
class Step:
    """A step of a scenario, from the stimulus that began it to the one that ended it."""

    begin: Stimulus
    end: Stimulus


def only_step(stimuli: Sequence[Stimulus]) -> Step | None:
    """The only step of a scenario: from its one Release to its one StopWorkers; None for any other shape."""
    releases = [s for s in stimuli if s.op == "Release"]
    stops = [s for s in stimuli if s.op == "StopWorkers"]
    if len(releases) != 1 or len(stops) != 1 or stops[0].at_ns < releases[0].at_ns:
        return None
    return Step(releases[0], stops[0])


def phases(groups: Sequence[Group], stimuli: Sequence[Stimulus]) -> tuple[Phase, ...]:
    """One bucket, ``Step[0]``, when the scenario has exactly one step that both began and ended."""
    step = only_step(stimuli)
    if step is None:
        return ()
    seconds = (step.end.at_ns - step.begin.at_ns) / NS
    iterations = step.end.total_iterations - step.begin.total_iterations
    metrics: dict[str, float] = {"total_phase_duration_sec": seconds}
    if iterations >= 0:
        metrics["total_phase_iterations"] = iterations
        if seconds:
            metrics["iteration_rate"] = iterations / seconds
    by_cgroup: dict[str, list[Group]] = {}
    for group in groups:
        by_cgroup.setdefault(group.cgroup, []).append(group)
    per_cgroup = {name: _phase_cgroup(members) for name, members in sorted(by_cgroup.items())}
    phase = Phase(
        step_index=1,
        label="Step[0]",
        start_ms=step.begin.at_ns // MS,
        end_ms=step.end.at_ns // MS,
        sample_count=0,
        metrics=metrics,
        per_cgroup=per_cgroup,
    )
    return (phase,)


def scenario_stats(groups: Sequence[Group], stimuli: Sequence[Stimulus]) -> ScenarioStats:
    """The statistics of a whole run."""
    cgroups = tuple(cgroup_stats(group) for group in groups)
    buckets = phases(groups, stimuli)
    gap = max((c for c in cgroups if c.max_gap_ms is not None), key=lambda c: c.max_gap_ms or 0, default=None)
    return ScenarioStats(
        cgroups=cgroups,
        total_workers=sum(c.num_workers for c in cgroups),
        total_cpus=sum(c.num_cpus for c in cgroups),
        total_migrations=sum(c.total_migrations for c in cgroups),
        total_iterations=sum(c.total_iterations for c in cgroups),
        worst_spread=max((c.spread for c in cgroups if c.spread is not None), default=None),
        worst_gap_ms=gap.max_gap_ms if gap else None,
        worst_gap_cpu=gap.max_gap_cpu if gap else None,
        worst_migration_ratio=max((c.migration_ratio for c in cgroups if c.migration_ratio is not None), default=None),
        ext_metrics=ext_metrics(groups, cgroups, buckets),
        phases=buckets,
    )
