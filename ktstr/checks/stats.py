"""The statistics of a run that its sidecar carries (``record.statistics``), from its groups of workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ktstr.checks import formulas
from ktstr.checks.formulas import MS, NS
from ktstr.checks.memory import locality, migration_ratio, pages_of
from ktstr.checks.model import Group
from ktstr.checks.phases import Part, Window
from ktstr.checks.served import served
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
        page_locality=locality(group),
        cross_node_migration_ratio=migration_ratio(group),
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
        "worst_page_locality": min((c.page_locality for c in cgroups if c.page_locality is not None), default=None),
        "worst_cross_node_migration_ratio": max(
            (c.cross_node_migration_ratio for c in cgroups if c.cross_node_migration_ratio is not None), default=None
        ),
        **_pooled_efficiency(cgroups),
        **_of_phases(phases),
        **served(groups),
    }
    return {name: value for name, value in sorted(metrics.items()) if value is not None}


_SUMS = ("total_phase_duration_sec", "total_phase_iterations")


def _of_phases(phases: Sequence[Phase]) -> dict[str, float | None]:
    """Counters are summed over phases, and rates are of the sums."""
    if not phases:
        return {}
    sums = {name: sum(p.metrics[name] for p in phases) for name in _SUMS if all(name in p.metrics for p in phases)}
    seconds, iterations = sums.get(_SUMS[0]), sums.get(_SUMS[1])
    return {**sums, "iteration_rate": None if iterations is None else _ratio(iterations, seconds)}


def _local_pages(groups: Sequence[Group]) -> int | None:
    known = [pages_of(group).on(group.nodes) for group in groups if group.nodes and pages_of(group).by_node is not None]
    return sum(known) if known else None


def _all_pages(groups: Sequence[Group]) -> int | None:
    known = [pages_of(group).total for group in groups if pages_of(group).by_node is not None]
    return sum(known) if known else None


def _phase_cgroup(groups: Sequence[Group]) -> PhaseCgroup:
    """Of workers that lived in one phase only."""
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
        numa_pages_local=_local_pages(groups),
        numa_pages_total=_all_pages(groups),
        cross_node_migrated=max((m for g in groups if (m := pages_of(g).migrated) is not None), default=None),
        max_gap_ms=gap.max_gap_ns // MS if gap else None,
        max_gap_cpu=gap.max_gap_cpu if gap else None,
        stripped=False,
        metrics={},
    )


def _with_backdrop(own: PhaseCgroup, parts: Sequence[Part]) -> PhaseCgroup:
    """The same cgroup, with what workers of the backdrop did in the phase as well. Which CPUs they used, and how long
    they waited, is known of their life only."""
    if not parts:
        return own
    gap_ms, own_gap_ms = max(part.max_gap_ns for part in parts) // MS, own.max_gap_ms
    further = own_gap_ms is None or gap_ms > own_gap_ms
    lived = [part for part in parts if part.lived_ns]
    return replace(
        own,
        num_workers=own.num_workers + len({part.report.index for part in parts}),
        off_cpu_pcts=(*own.off_cpu_pcts, *(_off_cpu_pct(part) for part in lived)),
        total_migrations=own.total_migrations + sum(part.migrations for part in parts),
        total_iterations=own.total_iterations + sum(part.iterations for part in parts),
        total_cpu_time_ns=(own.total_cpu_time_ns or 0) + sum(part.cpu_time_ns for part in parts),
        max_gap_ms=gap_ms if further else own_gap_ms,
        max_gap_cpu=None if further else own.max_gap_cpu,
    )


def _off_cpu_pct(part: Part) -> float:
    return 100 * max(0, part.lived_ns - part.cpu_time_ns) / part.lived_ns


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
    window = Window(1, "", step.begin.at_ns, step.end.at_ns, step.begin.total_iterations, step.end.total_iterations)
    return (_phase(window, groups),)


def _phase(window: Window, groups: Sequence[Group]) -> Phase:
    """``groups``: of the workers that lived in this phase only."""
    seconds = window.ns / NS
    iterations = window.end_iterations - window.begin_iterations
    metrics: dict[str, float] = {"total_phase_duration_sec": seconds}
    if iterations >= 0:
        metrics["total_phase_iterations"] = iterations
        if seconds:
            metrics["iteration_rate"] = iterations / seconds
    by_cgroup: dict[str, list[Group]] = {}
    for group in groups:
        by_cgroup.setdefault(group.cgroup, []).append(group)
    return Phase(
        step_index=window.index,
        label=window.label,
        start_ms=window.begin_ns // MS,
        end_ms=window.end_ns // MS,
        sample_count=0,
        metrics=metrics,
        per_cgroup={name: _phase_cgroup(members) for name, members in sorted(by_cgroup.items())},
    )


def stepped_phases(groups: Sequence[Group], found: Sequence[Window]) -> tuple[Phase, ...]:
    """A bucket for each phase: the cgroups of its step, and those of the backdrop by what was told at checkpoints."""
    return tuple(_stepped(window, groups) for window in found)


def _stepped(window: Window, groups: Sequence[Group]) -> Phase:
    phase = _phase(window, [group for group in groups if window.index and group.step == window.index])
    told: dict[str, list[Part]] = {}
    for number, parts in window.parts.items():
        told.setdefault(groups[number].cgroup, []).extend(part for part in parts if part.told)
    per_cgroup = dict(phase.per_cgroup)
    for name, some in told.items():
        if some:
            per_cgroup[name] = _with_backdrop(per_cgroup.get(name, _phase_cgroup(())), some)
    return replace(phase, per_cgroup=dict(sorted(per_cgroup.items())))


def scenario_stats(groups: Sequence[Group], stimuli: Sequence[Stimulus], found: Sequence[Window] = ()) -> ScenarioStats:
    """The statistics of a whole run. ``found``: its phases, none for a test of one step."""
    cgroups = tuple(cgroup_stats(group) for group in groups)
    buckets = stepped_phases(groups, found) if found else phases(groups, stimuli)
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
