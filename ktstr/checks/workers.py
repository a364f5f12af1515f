"""The checks on worker reports, one function each, on workers that are judged together.

Every function returns the reasons it found, none when the check holds or is not asked for. A gate
that was asked for and could not be evaluated is Inconclusive. Formulas: ``formulas``; when the
machine is the cause instead: ``machine``; when the scenario itself is: ``restraint``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ktstr import cpulist
from ktstr.checks import formulas, machine
from ktstr.checks.breach import Breach, Run, unknown, where, who
from ktstr.checks.formulas import MS, NS
from ktstr.checks.model import Group
from ktstr.checks.restraint import Restraint, Restraints
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import WorkerReport

_LEAST_LIFE_NS = 1 * NS
_SAME_LIFE = 0.9  # of the longer of two lives, if they were at one time


def starvation(group: Group, run: Run) -> list[Detail]:
    """Every worker did some work and lived to report it; one whose work was never due did not starve. Of one that the
    scenario itself kept off CPU for all its life, or for one of several, nothing is said."""
    if not run.limits.on("not_starved"):
        return []
    details = [d for report in group.reports if (d := _starved(group, report, run)) is not None]
    if group.missing:
        what = f"{where(run, group)} ({group.work_type}): {group.missing} worker(s) never reported, expected 0"
        excuse = machine.explains_lost_report(run.machine, run.stop_timeout_ns)
        details.append(Breach("Starved", group, what, group.missing, 0).judged(excuse))
    return details


def _starved(group: Group, report: WorkerReport, run: Run) -> Detail | None:
    if not report.completed:
        how = report.exit_info or "no reason given"
        what = f"{who(run, group, report)} did not end by itself ({how}); last seen at {report.work_units} work units"
        excuse = machine.explains_lost_report(run.machine, run.stop_timeout_ns)
        return Breach("Starved", group, what, report.work_units, 0, report.index).judged(excuse)
    if report.work_units:
        return None
    restless = _is_one_of_lives(group, report)
    if not report.wall_time_ns:
        if restless:
            return None
        what = f"worker {report.index} (tid {report.tid}) was stopped before its work was due: nothing to judge"
        return unknown("Starved", group, what, 0, report.index)
    if (why := had_no_turn(group, run, report.wall_time_ns)) is not None:
        if restless or run.restraint(group).cause:
            return None
        what = f"worker {report.index} (tid {report.tid}) did no work, but {why}: nothing to judge"
        return unknown("Starved", group, what, 0, report.index)
    what = (
        f"{who(run, group, report)} starved: 0 work units in {report.wall_time_ns / NS:.3f} s"
        f" with {report.cpu_time_ns / MS:.3f} ms of CPU time, limit: more than 0 {run.limits.layer('not_starved')}"
    )
    return Breach("Starved", group, what, 0, 0, report.index).judged(machine.explains_no_work(run.machine, report))


def _is_one_of_lives(group: Group, report: WorkerReport) -> bool:
    """Whether a loop spawned the worker again and again, which cuts its lives short, and it did work in one of them. If
    it did in none, that is told of the first."""
    lives = [other for other in group.reports if other.index == report.index]
    return any(life.work_units for life in lives) or lives[0] is not report


def had_no_turn(group: Group, run: Run, lived_ns: int, frozen_ns: int | None = None) -> str | None:
    """Why a worker that lived so long need not have run at all; None when it should have.

    ``frozen_ns``: how long it was frozen meanwhile; None: whenever its cgroup was."""
    restraint, turn_ns = run.restraint(group), run.turn_ns(group)
    if restraint.frozen_again:
        return restraint.excuse()
    held_ns = (restraint.frozen_ns if frozen_ns is None else frozen_ns) + restraint.pause_ns
    if lived_ns - held_ns >= turn_ns:
        return None
    held = f", {restraint.cause} apart" if held_ns else ""
    return f"it had {lived_ns / MS:.3f} ms{held}, less than one scheduling period of {turn_ns / MS:g} ms"


def spread(group: Group, run: Run) -> list[Detail]:
    """Largest minus smallest off-CPU share of wall time, in percent, of workers that lived at one time; one worker has
    no spread. The built-in limits are for lives of ``_LEAST_LIFE_NS`` and more, since a kernel balances what was just
    forked within tenths of a second, and where no cgroup was given a weight, which its neighbours' shares depend on.

    Of work that sleeps, as pairs do that wait for each other, nothing is known when the spread would be as wide had
    nobody ever waited for a CPU.
    """
    limit = run.limits.limit("max_spread_pct")
    if limit is None or len({report.index for report in group.reports}) < 2:
        return []
    lived = [report for report in group.reports if report.wall_time_ns]
    if len(lived) < 2:
        what = f"off-CPU spread unknown: {len(lived)} of {len(group.reports)} workers have wall time"
        return [unknown("Unfair", group, what, limit)]
    asked = run.limits.is_asked_for("max_spread_pct")
    if run.restraints.weighted and not asked:
        return []
    crews = [crew for crew in _at_one_time(lived) if asked or crew[0].wall_time_ns >= _LEAST_LIFE_NS]
    together = [pair for crew in crews if (pair := _furthest(crew)) is not None]
    if not together and asked:
        return [unknown("Unfair", group, "off-CPU spread unknown: no two workers lived at one time", limit)]
    widest = max(together, key=lambda pair: pair.value, default=None)
    if widest is None or widest.value <= limit:
        return []
    worst, best = widest.worst, widest.best
    what = (
        f"{who(run, group, worst)} was off CPU {formulas.off_cpu_pct(worst):.2f} % of its time, worker {best.index}"
        f" (tid {best.tid}) {formulas.off_cpu_pct(best):.2f} %: spread {widest.value:.2f} % >"
        f" {run.limits.words('max_spread_pct')}"
    )
    excuse = (
        _unbalanced(group, run)
        or _held_back(run.restraint(group), min(worst.wall_time_ns, best.wall_time_ns), widest.value - limit)
        or machine.explains_spread(run.machine, worst, best, widest.value, limit)
        or _slept(group, widest.value, limit)
    )
    return [Breach("Unfair", group, what, widest.value, limit, worst.index).judged(excuse)]


def _unbalanced(group: Group, run: Run) -> str | None:
    if not any(group.is_below(cgroup) for cgroup in run.restraints.partitions):
        return None
    return "in an isolated partition no load is balanced: they stay on the CPUs where they began"


@dataclass(frozen=True)
class _Furthest:
    """The workers with the most and the least off-CPU time, and how far these are apart."""

    worst: WorkerReport
    best: WorkerReport
    value: float


def _furthest(reports: Sequence[WorkerReport]) -> _Furthest | None:
    """None for fewer than two."""
    shares = [(pct, report) for report in reports if (pct := formulas.off_cpu_pct(report)) is not None]
    if len(shares) < 2:
        return None
    (most, worst), (least, best) = max(shares, key=lambda s: s[0]), min(shares, key=lambda s: s[0])
    return _Furthest(worst, best, most - least)


def _at_one_time(reports: Iterable[WorkerReport]) -> list[list[WorkerReport]]:
    """Reports of workers that were spawned as often and lived as long, within a tenth: others had other neighbours."""
    crews: list[list[WorkerReport]] = []
    for report in sorted(reports, key=lambda report: (report.spawn or 0, -report.wall_time_ns, report.index)):
        first = crews[-1][0] if crews else None
        alike = first is not None and (first.spawn or 0) == (report.spawn or 0)
        if alike and first is not None and report.wall_time_ns >= _SAME_LIFE * first.wall_time_ns:
            crews[-1].append(report)
        else:
            crews.append([report])
    return crews


def _held_back(restraint: Restraint, wall_ns: int, excess_pct: float) -> str | None:
    """That what the scenario itself takes from a worker can make as much of a spread as is too much."""
    taken = 100 * (restraint.share + restraint.frozen_ns / wall_ns)
    if restraint.frozen_again or (taken and excess_pct <= taken):
        return (
            restraint.excuse() or f"{restraint.cause} may keep one worker off CPU for {taken:.2f} % more than another"
        )
    return None


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
    restraint = run.restraint(group)
    allowed_ns = restraint.lengthened(limit * MS)
    for report in group.reports:
        value = report.max_gap_ns / MS
        if report.max_gap_ns > allowed_ns:
            at = f"on CPU {report.max_gap_cpu} at {report.max_gap_at_ns / MS:.3f} ms"
            off = f"{report.max_gap_off_cpu_ns / MS:.3f} ms of it off CPU"
            beyond = f"{run.limits.words('max_gap_ms')}{restraint.words(limit * MS)}"
            what = f"{who(run, group, report)} stuck {at}: gap {value:.3f} ms > {beyond}, {off}"
            excuse = restraint.excuse() or machine.explains_gap(run.machine, report, allowed_ns)
            details.append(Breach("Stuck", group, what, value, limit, report.index).judged(excuse))
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
            layer = run.limits.layer("isolation")
            limit = f"limit: cpuset {cpulist.render(group.cpus)} {layer}"
            what = f"{who(run, group, report)} ran on CPU {cpulist.render(outside)}, {limit}"
            breach = Breach("Isolation", group, what, len(outside), 0, report.index)
            details.append(breach.judged(_all_offline(run.restraints, allowed)))
        elif not report.cpus_used:
            what = f"isolation unknown: worker {report.index} (tid {report.tid}) recorded no CPU"
            details.append(unknown("Isolation", group, what, worker=report.index))
    return details


def _all_offline(restraints: Restraints, cpus: frozenset[int]) -> str | None:
    """A cpuset without a CPU that is online is that of its parent (effective_cpus of kernel/cgroup/cpuset.c)."""
    if not cpus <= restraints.ever_offline():
        return None
    return "each of these CPUs was offline at some time, and a cpuset without any other is its parent's"


def throughput_cv(group: Group, run: Run) -> list[Detail]:
    """Coefficient of variation of work per CPU second over the workers; one worker has none."""
    limit = run.limits.limit("max_throughput_cv")
    if limit is None or len(group.reports) < 2:
        return []
    rates = [rate for r in group.reports if (rate := formulas.work_rate(r)) is not None]
    value = formulas.cv(rates) if len(rates) == len(group.reports) else None
    if value is None:
        return [unknown("Benchmark", group, "throughput CV unknown: a worker without CPU time, or no work", limit)]
    if value <= limit:
        return []
    worst = min(group.reports, key=lambda r: formulas.work_rate(r) or 0.0)
    what = (
        f"{who(run, group, worst)} was slowest at {formulas.work_rate(worst) or 0.0:.1f} work units/CPU s:"
        f" throughput CV {value:.4f} > {run.limits.words('max_throughput_cv')}"
    )
    return [Breach("Benchmark", group, what, value, limit, worst.index).judged(machine.explains_slow_work(run.machine))]


def work_rate(group: Group, run: Run) -> list[Detail]:
    """Work units per CPU second of each worker are at least the floor."""
    floor = run.limits.limit("min_work_rate")
    return [] if floor is None else [d for r in group.reports if (d := _work_rate(group, run, r, floor)) is not None]


def _work_rate(group: Group, run: Run, report: WorkerReport, floor: float) -> Detail | None:
    rate = formulas.work_rate(report)
    if rate is None:
        what = f"work rate unknown: worker {report.index} (tid {report.tid}) has no CPU time"
        return unknown("Benchmark", group, what, floor, report.index)
    if rate >= floor:
        return None
    what = f"{who(run, group, report)}: {rate:.1f} work units/CPU s < {run.limits.words('min_work_rate')}"
    return Breach("Benchmark", group, what, rate, floor, report.index).judged(machine.explains_slow_work(run.machine))


def iteration_rate(group: Group, run: Run) -> list[Detail]:
    """Iterations per second of wall time of each worker are at least the floor."""
    floor = run.limits.limit("min_iteration_rate")
    if floor is None:
        return []
    return [d for r in group.reports if (d := _iteration_rate(group, run, r, floor)) is not None]


def _iteration_rate(group: Group, run: Run, report: WorkerReport, floor: float) -> Detail | None:
    rate = formulas.iteration_rate(report, run.restraint(group).frozen_ns)
    if rate is None:
        what = f"iteration rate unknown: worker {report.index} (tid {report.tid}) has no wall time"
        return unknown("Benchmark", group, what, floor, report.index)
    if rate >= floor:
        return None
    what = f"{who(run, group, report)}: {rate:.1f} iterations/s < {run.limits.words('min_iteration_rate')}"
    excuse = run.restraint(group).excuse() or machine.explains_slow_iterations(run.machine, report, floor)
    return Breach("Benchmark", group, what, rate, floor, report.index).judged(excuse)


def _slowest_waker(group: Group) -> WorkerReport:
    return max(group.reports, key=lambda r: max(r.wake_latencies_ns, default=-1))


def wake_p99(group: Group, run: Run) -> list[Detail]:
    """Nearest-rank p99 over the group's wake samples; work types that never block are not judged."""
    limit = run.limits.limit("max_p99_wake_latency_ns")
    if limit is None or not group.samples_wakes:
        return []
    value = formulas.nearest_rank(group.wakes, 99)
    if value is None:
        return [] if group.has_others else [unknown("Benchmark", group, "p99 wake latency unknown: no samples", limit)]
    restraint = run.restraint(group)
    allowed = restraint.lengthened(limit)
    if value <= allowed:
        return []
    worst = _slowest_waker(group)
    what = (
        f"{who(run, group, worst)} waited longest, {max(worst.wake_latencies_ns)} ns:"
        f" group p99 wake latency {value} ns > {run.limits.words('max_p99_wake_latency_ns')}{restraint.words(limit)}"
    )
    excuse = restraint.excuse() or machine.explains_wake(run.machine, group.reports, group.wakes, allowed)
    return [Breach("Benchmark", group, what, value, limit, worst.index).judged(excuse)]


def wake_cv(group: Group, run: Run) -> list[Detail]:
    """Coefficient of variation of the group's wake samples, at least two of them."""
    limit = run.limits.limit("max_wake_latency_cv")
    if limit is None or not group.samples_wakes:
        return []
    samples = group.wakes
    if not samples.values and group.has_others:
        return []
    value = formulas.cv(samples.values, samples.weights) if len(samples.values) >= 2 else None
    if value is None:
        return [unknown("Benchmark", group, f"wake latency CV unknown: {len(samples.values)} sample(s)", limit)]
    if value <= limit:
        return []
    worst = _slowest_waker(group)
    what = (
        f"{who(run, group, worst)} waited longest, {max(worst.wake_latencies_ns)} ns:"
        f" group wake latency CV {value:.4f} > {run.limits.words('max_wake_latency_cv')}"
    )
    held = run.restraint(group).cause
    excuse = f"{held} makes some of them longer" if held else None
    excuse = excuse or machine.explains_wake_cv(run.machine, group.reports, samples, limit)
    return [Breach("Benchmark", group, what, value, limit, worst.index).judged(excuse)]


def request_p99(group: Group, run: Run) -> list[Detail]:
    """Nearest-rank p99 over the group's request latencies; work types without requests are not judged."""
    limit = run.limits.limit("max_p99_request_latency_ns")
    if limit is None or not group.samples_requests:
        return []
    value = formulas.nearest_rank(group.requests, 99)
    if value is None:
        what = "p99 request latency unknown: no request was served"
        return [] if group.has_others else [unknown("Benchmark", group, what, limit)]
    restraint = run.restraint(group)
    allowed = restraint.lengthened(limit)
    if value <= allowed:
        return []
    worst = max(group.reports, key=lambda r: max(r.request_latencies_ns or (-1,)))
    what = (
        f"{who(run, group, worst)} took longest for a request, {max(worst.request_latencies_ns or (0,))} ns:"
        f" group p99 request latency {value} ns > {run.limits.words('max_p99_request_latency_ns')}"
        f"{restraint.words(limit)}"
    )
    excuse = restraint.excuse() or machine.explains_wake(run.machine, group.reports, group.requests, allowed)
    return [Breach("Benchmark", group, what, value, limit, worst.index).judged(excuse)]


def migration_ratio(group: Group, run: Run) -> list[Detail]:
    """Migrations per iteration, summed over the group."""
    limit = run.limits.limit("max_migration_ratio")
    if limit is None or not group.reports:
        return []
    moves = sum(r.migration_count for r in group.reports)
    iterations = sum(r.iterations for r in group.reports)
    if not iterations:
        return [unknown("Migration", group, f"migration ratio unknown: {moves} migrations in 0 iterations", limit)]
    value = moves / iterations
    if value <= limit:
        return []
    worst = max(group.reports, key=lambda r: r.migration_count)
    what = (
        f"{who(run, group, worst)} moved most, {worst.migration_count} times:"
        f" group migration ratio {value:.6f} ({moves}/{iterations}) > {run.limits.words('max_migration_ratio')}"
    )
    return [Breach("Migration", group, what, value, limit, worst.index).judged(None)]


CHECKS: tuple[Callable[[Group, Run], list[Detail]], ...] = (
    starvation, spread, gap, isolation, throughput_cv, work_rate, wake_p99, wake_cv, request_p99,
    iteration_rate, migration_ratio,
)  # fmt: skip


def judge_workers(groups: Iterable[Group], run: Run) -> list[Detail]:
    """Every check on every group, in declared order; a wake gate no group can answer is Inconclusive."""
    listed = list(groups)
    details = [detail for group in listed for check in CHECKS for detail in check(group, run)]
    if not run.limits.on("not_starved"):
        silent = [group for group in listed if not group.reports]
        details += [unknown("Other", g, "no worker reported, so nothing could be judged") for g in silent]
    return details + _nothing_to_judge(listed, run)


def _nothing_to_judge(groups: Sequence[Group], run: Run) -> list[Detail]:
    """Gates that are about what no worker does; one role of several need not do it."""
    unsampled: dict[str, tuple[str, ...]] = {}
    if not any(g.samples_wakes and (g.wakes.values or not g.has_others) for g in groups):
        unsampled["waits to be woken"] = ("max_p99_wake_latency_ns", "max_wake_latency_cv")
    if not any(g.samples_requests and (g.requests.values or not g.has_others) for g in groups):
        unsampled["serves requests"] = ("max_p99_request_latency_ns",)
    return [
        Detail(
            Verdict.INCONCLUSIVE,
            "Benchmark",
            f"{name}: none of the workers' types {does}, so there is nothing to judge",
            limit=limit,
        )
        for does, names in unsampled.items()
        for name in names
        if (limit := run.limits.limit(name)) is not None
    ]
