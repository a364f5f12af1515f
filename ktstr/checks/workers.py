"""The checks on worker reports, one function each, on workers that are judged together.

Every function returns the reasons it found, none when the check holds or is not asked for. A gate
that was asked for and could not be evaluated is Inconclusive. Formulas: ``formulas``; when the
machine is the cause instead: ``machine``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ktstr import cpulist
from ktstr.checks import formulas, machine
from ktstr.checks.formulas import MS, NS
from ktstr.checks.machine import Evidence
from ktstr.checks.model import Group
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import WorkerReport
from ktstr.record.outcome import ReasonKind

STOP_TIMEOUT_NS = 5 * NS


@dataclass(frozen=True)
class Run:
    """What every check needs beside the group. ``stop_timeout_ns``: how long workers had to end."""

    limits: Thresholds
    machine: Evidence
    stop_timeout_ns: int = STOP_TIMEOUT_NS


def _who(group: Group, report: WorkerReport) -> str:
    return f"cgroup {group.cgroup}: worker {report.index} (tid {report.tid}, {group.work_type})"


@dataclass(frozen=True)
class _Breach:
    """A limit that did not hold in a group; ``worker``: whose number it is, None for a number of the group's."""

    kind: ReasonKind
    group: Group
    what: str
    value: float
    limit: float
    worker: int | None = None

    def judged(self, excuse: str | None) -> Detail:
        """Fail, or Inconclusive with the sentence that excuses the scheduler."""
        verdict = Verdict.FAIL if excuse is None else Verdict.INCONCLUSIVE
        message = self.what if excuse is None else f"{self.what}; {excuse}"
        return Detail(verdict, self.kind, message, self.group.cgroup, self.worker, self.value, self.limit)


def _unknown(
    kind: ReasonKind, group: Group, what: str, limit: float | None = None, worker: int | None = None
) -> Detail:
    message = f"cgroup {group.cgroup} ({group.work_type}): {what}"
    return Detail(Verdict.INCONCLUSIVE, kind, message, group.cgroup, worker, None, limit)


def starvation(group: Group, run: Run) -> list[Detail]:
    """Every worker did some work and lived to report it; one whose work was never due did not starve."""
    if not run.limits.on("not_starved"):
        return []
    details = [d for report in group.reports if (d := _starved(group, report, run)) is not None]
    if group.missing:
        what = f"cgroup {group.cgroup} ({group.work_type}): {group.missing} worker(s) never reported, expected 0"
        excuse = machine.explains_lost_report(run.machine, run.stop_timeout_ns)
        details.append(_Breach("Starved", group, what, group.missing, 0).judged(excuse))
    return details


def _starved(group: Group, report: WorkerReport, run: Run) -> Detail | None:
    if not report.completed:
        how = report.exit_info or "no reason given"
        what = f"{_who(group, report)} did not end by itself ({how}); last seen at {report.work_units} work units"
        excuse = machine.explains_lost_report(run.machine, run.stop_timeout_ns)
        return _Breach("Starved", group, what, report.work_units, 0, report.index).judged(excuse)
    if report.work_units:
        return None
    if not report.wall_time_ns:
        what = f"worker {report.index} (tid {report.tid}) was stopped before its work was due: nothing to judge"
        return _unknown("Starved", group, what, 0, report.index)
    what = (
        f"{_who(group, report)} starved: 0 work units in {report.wall_time_ns / NS:.3f} s"
        f" with {report.cpu_time_ns / MS:.3f} ms of CPU time, limit: more than 0"
    )
    return _Breach("Starved", group, what, 0, 0, report.index).judged(machine.explains_no_work(run.machine, report))


def spread(group: Group, run: Run) -> list[Detail]:
    """Largest minus smallest off-CPU share of wall time, in percent; one worker has no spread.

    Of work that sleeps, as pairs do that wait for each other, nothing is known when the spread would be as wide had
    nobody ever waited for a CPU.
    """
    limit = run.limits.limit("max_spread_pct")
    if limit is None or len(group.reports) < 2:
        return []
    shares = [(pct, r) for r in group.reports if (pct := formulas.off_cpu_pct(r)) is not None]
    if len(shares) < 2:
        what = f"off-CPU spread unknown: {len(shares)} of {len(group.reports)} workers have wall time"
        return [_unknown("Unfair", group, what, limit)]
    (most, worst), (least, best) = max(shares, key=lambda s: s[0]), min(shares, key=lambda s: s[0])
    value = most - least
    if value <= limit:
        return []
    what = (
        f"{_who(group, worst)} was off CPU {most:.2f} % of its time, worker {best.index} (tid {best.tid})"
        f" {least:.2f} %: spread {value:.2f} % > limit {limit:g} %"
    )
    excuse = machine.explains_spread(run.machine, worst, best, value, limit) or _slept(group, value, limit)
    return [_Breach("Unfair", group, what, value, limit, worst.index).judged(excuse)]


def _slept(group: Group, spread_pct: float, limit_pct: float) -> str | None:
    """That workers slept for what they were off CPU: the waits of all of them together (run_delay of
    /proc/PID/schedstat) are too short to have made the spread."""
    waits = [report.schedstat_run_delay_ns for report in group.reports]
    if not group.samples_wakes or None in waits:
        return None
    waited = sum(wait for wait in waits if wait is not None)
    wall = min(report.wall_time_ns for report in group.reports)
    if not wall or spread_pct - 100 * waited / wall <= limit_pct:
        return None
    return f"they slept of their own accord: all of them together waited {waited / MS:.3f} ms for a CPU"


def gap(group: Group, run: Run) -> list[Detail]:
    """No worker went longer than the limit between two looks at the clock. One detail per worker."""
    limit = run.limits.limit("max_gap_ms")
    if limit is None:
        return []
    details = []
    for report in group.reports:
        value = report.max_gap_ns / MS
        if value > limit:
            at = f"on CPU {report.max_gap_cpu} at {report.max_gap_at_ns / MS:.3f} ms"
            off = f"{report.max_gap_off_cpu_ns / MS:.3f} ms of it off CPU"
            what = f"{_who(group, report)} stuck {at}: gap {value:.3f} ms > limit {limit:g} ms, {off}"
            excuse = machine.explains_gap(run.machine, report, limit * MS)
            details.append(_Breach("Stuck", group, what, value, limit, report.index).judged(excuse))
    return details


def isolation(group: Group, run: Run) -> list[Detail]:
    """No worker was seen on a CPU outside its cgroup's cpuset; nothing to judge without a cpuset."""
    if not run.limits.on("isolation") or group.cpus is None:
        return []
    allowed = frozenset(group.cpus)
    details = []
    for report in group.reports:
        outside = sorted(set(report.cpus_used) - allowed)
        if outside:
            cpuset = cpulist.render(group.cpus)
            what = f"{_who(group, report)} ran on CPU {cpulist.render(outside)}, limit: cpuset {cpuset}"
            details.append(_Breach("Isolation", group, what, len(outside), 0, report.index).judged(None))
        elif not report.cpus_used:
            what = f"isolation unknown: worker {report.index} (tid {report.tid}) recorded no CPU"
            details.append(_unknown("Isolation", group, what, worker=report.index))
    return details


def throughput_cv(group: Group, run: Run) -> list[Detail]:
    """Coefficient of variation of work per CPU second over the workers; one worker has none."""
    limit = run.limits.limit("max_throughput_cv")
    if limit is None or len(group.reports) < 2:
        return []
    rates = [rate for r in group.reports if (rate := formulas.work_rate(r)) is not None]
    value = formulas.cv(rates) if len(rates) == len(group.reports) else None
    if value is None:
        return [_unknown("Benchmark", group, "throughput CV unknown: a worker without CPU time, or no work", limit)]
    if value <= limit:
        return []
    worst = min(group.reports, key=lambda r: formulas.work_rate(r) or 0.0)
    what = (
        f"{_who(group, worst)} was slowest at {formulas.work_rate(worst) or 0.0:.1f} work units/CPU s:"
        f" throughput CV {value:.4f} > limit {limit:g}"
    )
    return [
        _Breach("Benchmark", group, what, value, limit, worst.index).judged(machine.explains_slow_work(run.machine))
    ]


def work_rate(group: Group, run: Run) -> list[Detail]:
    """Work units per CPU second of each worker are at least the floor."""
    floor = run.limits.limit("min_work_rate")
    return [] if floor is None else [d for r in group.reports if (d := _work_rate(group, run, r, floor)) is not None]


def _work_rate(group: Group, run: Run, report: WorkerReport, floor: float) -> Detail | None:
    rate = formulas.work_rate(report)
    if rate is None:
        what = f"work rate unknown: worker {report.index} (tid {report.tid}) has no CPU time"
        return _unknown("Benchmark", group, what, floor, report.index)
    if rate >= floor:
        return None
    what = f"{_who(group, report)}: {rate:.1f} work units/CPU s < limit {floor:g}"
    return _Breach("Benchmark", group, what, rate, floor, report.index).judged(machine.explains_slow_work(run.machine))


def iteration_rate(group: Group, run: Run) -> list[Detail]:
    """Iterations per second of wall time of each worker are at least the floor."""
    floor = run.limits.limit("min_iteration_rate")
    if floor is None:
        return []
    return [d for r in group.reports if (d := _iteration_rate(group, run, r, floor)) is not None]


def _iteration_rate(group: Group, run: Run, report: WorkerReport, floor: float) -> Detail | None:
    rate = formulas.iteration_rate(report)
    if rate is None:
        what = f"iteration rate unknown: worker {report.index} (tid {report.tid}) has no wall time"
        return _unknown("Benchmark", group, what, floor, report.index)
    if rate >= floor:
        return None
    what = f"{_who(group, report)}: {rate:.1f} iterations/s < limit {floor:g}"
    excuse = machine.explains_slow_iterations(run.machine, report, floor)
    return _Breach("Benchmark", group, what, rate, floor, report.index).judged(excuse)


def _slowest_waker(group: Group) -> WorkerReport:
    return max(group.reports, key=lambda r: max(r.wake_latencies_ns, default=-1))


def wake_p99(group: Group, run: Run) -> list[Detail]:
    """Nearest-rank p99 over the group's wake samples; work types that never block are not judged."""
    limit = run.limits.limit("max_p99_wake_latency_ns")
    if limit is None or not group.samples_wakes:
        return []
    value = formulas.nearest_rank(group.wakes, 99)
    if value is None:
        return [_unknown("Benchmark", group, "p99 wake latency unknown: no samples", limit)]
    if value <= limit:
        return []
    worst = _slowest_waker(group)
    what = (
        f"{_who(group, worst)} waited longest, {max(worst.wake_latencies_ns)} ns:"
        f" group p99 wake latency {value} ns > limit {limit:g} ns"
    )
    excuse = machine.explains_wake(run.machine, group.reports, group.wakes, limit)
    return [_Breach("Benchmark", group, what, value, limit, worst.index).judged(excuse)]


def wake_cv(group: Group, run: Run) -> list[Detail]:
    """Coefficient of variation of the group's wake samples, at least two of them."""
    limit = run.limits.limit("max_wake_latency_cv")
    if limit is None or not group.samples_wakes:
        return []
    samples = group.wakes
    value = formulas.cv(samples.values, samples.weights) if len(samples.values) >= 2 else None
    if value is None:
        return [_unknown("Benchmark", group, f"wake latency CV unknown: {len(samples.values)} sample(s)", limit)]
    if value <= limit:
        return []
    worst = _slowest_waker(group)
    what = (
        f"{_who(group, worst)} waited longest, {max(worst.wake_latencies_ns)} ns:"
        f" group wake latency CV {value:.4f} > limit {limit:g}"
    )
    excuse = machine.explains_wake_cv(run.machine, group.reports, samples, limit)
    return [_Breach("Benchmark", group, what, value, limit, worst.index).judged(excuse)]


def migration_ratio(group: Group, run: Run) -> list[Detail]:
    """Migrations per iteration, summed over the group."""
    limit = run.limits.limit("max_migration_ratio")
    if limit is None or not group.reports:
        return []
    moves = sum(r.migration_count for r in group.reports)
    iterations = sum(r.iterations for r in group.reports)
    if not iterations:
        return [_unknown("Migration", group, f"migration ratio unknown: {moves} migrations in 0 iterations", limit)]
    value = moves / iterations
    if value <= limit:
        return []
    worst = max(group.reports, key=lambda r: r.migration_count)
    what = (
        f"{_who(group, worst)} moved most, {worst.migration_count} times:"
        f" group migration ratio {value:.6f} ({moves}/{iterations}) > limit {limit:g}"
    )
    return [_Breach("Migration", group, what, value, limit, worst.index).judged(None)]


CHECKS: tuple[Callable[[Group, Run], list[Detail]], ...] = (
    starvation, spread, gap, isolation, throughput_cv, work_rate, wake_p99, wake_cv, iteration_rate, migration_ratio,
)  # fmt: skip


def judge_workers(groups: Iterable[Group], run: Run) -> list[Detail]:
    """Every check on every group, in declared order; a wake gate no group can answer is Inconclusive."""
    listed = list(groups)
    details = [detail for group in listed for check in CHECKS for detail in check(group, run)]
    if not run.limits.on("not_starved"):
        silent = [group for group in listed if not group.reports]
        details += [_unknown("Other", g, "no worker reported, so nothing could be judged") for g in silent]
    if not any(group.samples_wakes for group in listed):
        for name in ("max_p99_wake_latency_ns", "max_wake_latency_cv"):
            if (limit := run.limits.limit(name)) is not None:
                what = f"{name}: none of the workers' types waits to be woken, so there is nothing to judge"
                details.append(Detail(Verdict.INCONCLUSIVE, "Benchmark", what, limit=limit))
    return details
