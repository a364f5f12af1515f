"""What must hold of any scheduler, EEVDF too, at each sample; and which of them did not, by name.

1. work conservation   no CPU idles while a task that may run there waits: ``max_idle_wait_ms``. A CPU idles from one
                       sample to the next when it does in both and switched at most twice between; the task need not
                       stay the same one, but at each sample one has waited for ``_LEAST_WAIT_NS``.
2. bounded wait        no task waits longer than ``max_wait_ms`` for a CPU: since it was queued, or last seen not
                       to wait, and as long as it was seen to wait without having run.
3. affinity            a task runs only where it may: seen twice, one sample after the other, with the same CPUs; of a
                       worker whose CPUs change all the time, without a switch between.
4. one queue           a task is on one runqueue (in real time: twice in a row, since what is read may just change).
5. vtime               what a task is ordered by does not go back while it stays on one CPU: ``vtime_forward``, off
                       unless asked for, since a BPF scheduler may mean anything by it.
6. cgroup shares       a cgroup whose tasks always have something to do, and do not yield, gets at least
                       ``min_cgroup_share`` of the least of three fair shares: by tasks, by cgroups, and by cgroups at
                       each level of the hierarchy. Of cgroups that may use the same CPUs.
7. DSQ leak            a scheduler's dispatch queues do not become more by ``max_dsq_growth`` while the workload runs.

Where time is real, 1 and 2 are judged without the longest that any vCPU waited for its host meanwhile, and not at all
where that was not measured. Tasks that cpu.max may throttle are not taken to wait for an idle CPU, and may wait longer
by what that takes (``restraint``); CPUs that the scenario took offline, or that no load is
balanced to, do not idle; and shares are compared only where
nothing that decides them was written or moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from ktstr.checks.formulas import MS
from ktstr.checks.model import Group
from ktstr.checks.samples import View, Waiting, cpus_of, is_idle, longest_run, queue_name
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.samples import MonitorSample, TaskSample

_LEAST_WAIT_NS = 1 * MS
_MOST_SWITCHES = 2
_LEAST_SHARE_SAMPLES = 5
_MOST_DETAILS = 8


@dataclass(frozen=True)
class Watched:
    """What the invariants are judged by. ``exact``: samples are of one instant (counted instructions). ``even``: all
    workers were declared with the same weight, so that shares may be compared. ``groups``: all workers."""

    view: View
    limits: Thresholds
    exact: bool
    even: bool
    groups: tuple[Group, ...] = ()

    def longest_ns(self, pid: int, limit_ms: float) -> float:
        """How long a task may wait."""
        restraint = self.view.restraints.of_path(self.view.cgroup(pid), self.groups)
        return restraint.lengthened(limit_ms * MS)

    def tids(self, holds: Callable[[Group], bool]) -> frozenset[int]:
        """The workers of such groups."""
        return frozenset(report.tid for group in self.groups if holds(group) for report in group.reports)


def judge(run: Watched) -> list[Detail]:
    """The reasons for each invariant that was broken, at most ``_MOST_DETAILS``."""
    details = [detail for check in _CHECKS for detail in check(run)]
    return details[:_MOST_DETAILS]


def _broken(name: str, what: str, value: float, limit: float, cgroup: str | None = None) -> Detail:
    return Detail(Verdict.FAIL, "Invariant", f"{name}: {what}", cgroup=cgroup, value=value, limit=limit)


def _denied_ns(run: Watched, first: MonitorSample, last: MonitorSample) -> int | None:
    """The longest that one vCPU waited for its host between two samples: one that does not run can hold up tasks on
    all others. None where that was not measured."""
    if run.exact:
        return 0
    waits = []
    for before, now in zip(first.cpus, last.cpus, strict=True):
        if before.denied_ns is None or now.denied_ns is None:
            return None
        waits.append(now.denied_ns - before.denied_ns)
    return max(waits)


def work_conservation(run: Watched) -> list[Detail]:
    """Invariant 1. One detail: of the CPU that idled longest."""
    limit = run.limits.limit("max_idle_wait_ms")
    if limit is None:
        return []
    worst: tuple[float, int, Sequence[MonitorSample]] = (0.0, 0, ())
    for cpu in range(len(run.view.samples[0].cpus)):
        idle = _idle_stretch(run, cpu)
        lasted = (idle[-1].at_ns - idle[0].at_ns) / MS if idle else 0.0
        if lasted > worst[0]:
            worst = (lasted, cpu, idle)
    lasted, cpu, idle = worst
    denied = _denied_ns(run, idle[0], idle[-1]) if idle else None
    if denied is None or lasted - denied / MS <= limit:
        return []
    waiting = _left_waiting(run.view, idle[-1], cpu)
    assert waiting is not None
    what = (
        f"CPU {cpu} was idle from {run.view.ms(idle[0])} to {run.view.ms(idle[-1])} ms while tasks that may run there"
        f" waited, such as {run.view.who(waiting.task.pid)} {queue_name(waiting.cpu, waiting.task)}:"
        f" {lasted:.0f} ms > limit {limit:g} ms ({run.limits.named('max_idle_wait_ms')})"
    )
    return [_broken("work conservation", what, lasted, limit, run.view.cgroup(waiting.task.pid))]


def _idle_stretch(run: Watched, cpu: int) -> Sequence[MonitorSample]:
    """The longest stretch of samples over which a CPU idled while somebody waited for one like it."""
    view = run.view

    def idles(pair: tuple[MonitorSample, MonitorSample]) -> bool:
        before, now = pair
        if cpu in view.restraints.isolated | view.offline(before) | view.offline(now):
            return False
        quiet = now.cpus[cpu].switches - before.cpus[cpu].switches <= _MOST_SWITCHES
        return quiet and all(
            is_idle(sample.cpus[cpu]) and _left_waiting(view, sample, cpu) is not None for sample in pair
        )

    pairs = longest_run(list(pairwise(view.samples)), idles)
    return (*(pair[0] for pair in pairs), pairs[-1][1]) if pairs else ()


def _left_waiting(view: View, sample: MonitorSample, cpu: int) -> Waiting | None:
    """Of the tasks that wait and may run on ``cpu``, the one that has waited longest; None unless one has for a
    while."""
    found = [
        waiting
        for waiting in view.runnable(sample)
        if (waiting.wait_ns or 0) >= _LEAST_WAIT_NS
        and cpu in cpus_of(waiting.task.allowed)
        and not view.is_unbalanced(waiting.task)
    ]
    return max(found, key=lambda waiting: waiting.wait_ns or 0, default=None)


@dataclass(frozen=True)
class _Wait:
    ns: int
    waiting: Waiting
    last: MonitorSample


def bounded_wait(run: Watched) -> list[Detail]:
    """Invariant 2. One detail for the tasks of a cgroup that wait in one place, longest first."""
    limit = run.limits.limit("max_wait_ms")
    if limit is None:
        return []
    longest: dict[int, _Wait] = {}
    seen: dict[int, tuple[int, MonitorSample]] = {}  # what a waiting task had run, and since when that is so
    for sample in run.view.samples:
        present: dict[int, tuple[int, MonitorSample]] = {}
        for waiting in run.view.waiting(sample):
            pid, ran = waiting.task.pid, waiting.task.exec_ns
            since = seen[pid][1] if pid in seen and seen[pid][0] == ran else sample
            present[pid] = (ran, since)
            ns = max(waiting.wait_ns or 0, sample.at_ns - since.at_ns)
            if ns > limit * MS and (pid not in longest or ns > longest[pid].ns):
                longest[pid] = _Wait(ns, waiting, sample)
        seen = present
    judged = [wait for wait in longest.values() if _is_beyond(run, wait, limit)]
    alike: dict[tuple[str | None, str], list[_Wait]] = defaultdict(list)
    for wait in sorted(judged, key=lambda wait: -wait.ns):
        where = queue_name(wait.waiting.cpu, wait.waiting.task)
        alike[run.view.cgroup(wait.waiting.task.pid), where].append(wait)
    return [_waited(run, waits, limit) for waits in alike.values()]


def _is_beyond(run: Watched, wait: _Wait, limit: float) -> bool:
    """Whether a wait is too long without what the host may have added to it."""
    begin = wait.last.at_ns - wait.ns
    first = max((s for s in run.view.samples if s.at_ns <= begin), key=lambda s: s.at_ns, default=run.view.samples[0])
    denied = _denied_ns(run, first, wait.last)
    return denied is not None and wait.ns - denied > run.longest_ns(wait.waiting.task.pid, limit)


def _waited(run: Watched, waits: Sequence[_Wait], limit: float) -> Detail:
    wait, others = waits[0], len(waits) - 1
    pid, ms = wait.waiting.task.pid, wait.ns / MS
    more = f", as did {others} more of its cgroup" if others else ""
    allowed = run.longest_ns(pid, limit) / MS
    longer = f", here {allowed:.0f} ms for its cpu.max" if allowed > limit else ""
    what = (
        f"{run.view.who(pid)} waited {ms:.0f} ms {queue_name(wait.waiting.cpu, wait.waiting.task)}, until"
        f" {run.view.ms(wait.last)} ms, may run on CPUs {wait.waiting.task.allowed}{more}; limit"
        f" {limit:g} ms{longer} ({run.limits.named('max_wait_ms')})"
    )
    return _broken("bounded wait", what, ms, limit, run.view.cgroup(pid))


def affinity(run: Watched) -> list[Detail]:
    """Invariant 3. One detail for each task."""
    if not run.limits.on("affinity"):
        return []
    found: dict[int, Detail] = {}
    changing = run.tids(lambda group: group.pins)
    for before, now in pairwise(run.view.samples):
        gone = run.view.offline(before) | run.view.offline(now)
        for cpu, (a, b) in enumerate(zip(before.cpus, now.cpus, strict=True)):
            if not _astray(cpu, a.running, gone) or not _astray(cpu, b.running, gone):
                continue
            assert a.running is not None and b.running is not None
            pid, allowed = b.running.pid, b.running.allowed
            if (a.running.pid, a.running.allowed) != (pid, allowed) or pid in found:
                continue
            if pid in changing and a.switches != b.switches:
                continue
            what = f"{run.view.who(pid)} ran on CPU {cpu} at {run.view.ms(now)} ms, may run on CPUs {allowed}"
            what += f" ({run.limits.named('affinity')})"
            found[pid] = _broken("affinity", what, cpu, 0, run.view.cgroup(pid))
    return list(found.values())


def _astray(cpu: int, task: TaskSample | None, offline: frozenset[int]) -> bool:
    """A task whose every CPU went offline has to run elsewhere (select_fallback_rq of kernel/sched/core.c)."""
    if task is None or task.kind == "stop":
        return False
    allowed = cpus_of(task.allowed)
    return cpu not in allowed and not (allowed and allowed <= offline)


def one_queue(run: Watched) -> list[Detail]:
    """Invariant 4. One detail for each task."""
    if not run.limits.on("one_queue"):
        return []
    found: dict[int, Detail] = {}
    before: set[tuple[int, tuple[int, ...]]] = set()
    for sample in run.view.samples:
        doubled = {(pid, places) for pid, places in _places(sample).items() if len(places) > 1}
        for pid, places in doubled if run.exact else doubled & before:
            where = " and ".join(str(cpu) for cpu in places)
            what = f"{run.view.who(pid)} was on the runqueues of CPUs {where} at {run.view.ms(sample)} ms, limit 1"
            what += f" ({run.limits.named('one_queue')})"
            found.setdefault(pid, _broken("one queue", what, len(places), 1, run.view.cgroup(pid)))
        before = doubled
    return list(found.values())


def _places(sample: MonitorSample) -> dict[int, tuple[int, ...]]:
    """The CPUs on whose runqueues each task is."""
    found: dict[int, tuple[int, ...]] = defaultdict(tuple)
    for cpu, state in enumerate(sample.cpus):
        for task in (*((state.running,) if state.running else ()), *state.waiting):
            found[task.pid] = (*found[task.pid], cpu)
    return found


def vtime_forward(run: Watched) -> list[Detail]:
    """Invariant 5. One detail for each task."""
    if not run.limits.on("vtime_forward"):
        return []
    found: dict[int, Detail] = {}
    before: dict[int, tuple[int, TaskSample]] = {}
    for sample in run.view.samples:
        now = {
            task.pid: (cpu, task)
            for cpu, state in enumerate(sample.cpus)
            for task in (*((state.running,) if state.running else ()), *state.waiting)
        }
        for pid, (cpu, task) in now.items():
            old = before.get(pid)
            if old is None or old[0] != cpu or old[1].kind != task.kind or not _went_back(old[1].vtime, task.vtime):
                continue
            what = (
                f"the vtime of {run.view.who(pid)} on CPU {cpu} went back from {old[1].vtime} to {task.vtime}"
                f" by {run.view.ms(sample)} ms ({run.limits.named('vtime_forward')})"
            )
            found.setdefault(pid, _broken("vtime", what, task.vtime, old[1].vtime, run.view.cgroup(pid)))
        before = now
    return list(found.values())


def _went_back(before: int, now: int) -> bool:
    """As time_before64() has it: vtimes wrap."""
    return (now - before) & (1 << 64) - 1 >= 1 << 63


def cgroup_shares(run: Watched) -> list[Detail]:
    """Invariant 6."""
    least = run.limits.limit("min_cgroup_share")
    view = replace(run.view, samples=run.view.samples[1:])  # at the first one workers may be about to begin
    if least is None or not run.even or len(view.samples) < _LEAST_SHARE_SAMPLES:
        return []
    ran = _always_runnable(view, run.tids(lambda group: group.yields))
    details = []
    for allowed, cgroups in ran.items():
        if len(cgroups) < 2:
            continue
        tasks, total = sum(len(times) for times in cgroups.values()), sum(map(sum, cgroups.values()))
        for cgroup, times in cgroups.items():
            fair = min(len(times) / tasks, 1 / len(cgroups), _by_level(cgroup, cgroups))
            share = sum(times) / total if total else fair
            if share < least * fair:
                what = (
                    f"cgroup {cgroup} got {100 * share:.1f} % of the CPU time that {len(cgroups)} cgroups had on CPUs"
                    f" {allowed} in {view.seconds:.1f} s, fair would be {100 * fair:.1f} %: less than"
                    f" {least:g} of it ({run.limits.named('min_cgroup_share')})"
                )
                details.append(_broken("cgroup share", what, share, least * fair, cgroup))
    return details


def _by_level(cgroup: str, others: Iterable[str]) -> float:
    """A cgroup's fair share where each level of the hierarchy is divided evenly among those of ``others`` in it."""
    share, path = 1.0, ""
    for name in cgroup.strip("/").split("/"):
        inside = {other[len(path) + 1 :].split("/")[0] for other in others if other.startswith(f"{path}/")}
        share /= max(1, len(inside))
        path += f"/{name}"
    return share


def _always_runnable(view: View, yielding: frozenset[int]) -> dict[str, dict[str, list[int]]]:
    """By the CPUs that they may use, by cgroup: what each task ran (ns) that ran or waited in every sample. Only of
    cgroups of which no task slept, or is one of ``yielding``."""
    first, always, asleep = _tasks(view.samples[0]), set(_tasks(view.samples[0])), set[int]()
    last = first
    for sample in view.samples[1:]:
        last = _tasks(sample)
        asleep |= always.symmetric_difference(last)
        always &= set(last)
    drowsy = {view.cgroup(pid) for pid in asleep - always | yielding}
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for pid in always:
        cgroup = view.cgroup(pid)
        if cgroup is not None and cgroup != "/" and cgroup not in drowsy:
            found[first[pid].allowed][cgroup].append(last[pid].exec_ns - first[pid].exec_ns)
    return found


def _tasks(sample: MonitorSample) -> dict[int, TaskSample]:
    return {
        task.pid: task
        for cpu in sample.cpus
        for task in (*((cpu.running,) if cpu.running else ()), *cpu.waiting)
        if task.kind in ("fair", "ext")
    }


def dsq_leak(run: Watched) -> list[Detail]:
    """Invariant 7. Counted for each scheduler that was attached: a new one begins anew."""
    limit = run.limits.limit("max_dsq_growth")
    if limit is None:
        return []
    details = []
    for _, group in groupby(run.view.samples, key=lambda sample: sample.root):
        counted = [(sample.dsqs, sample) for sample in group if sample.dsqs is not None]
        if not counted:
            continue
        (before, first), (now, last) = counted[0], counted[-1]
        if now - before > limit:
            what = (
                f"the scheduler had {before} DSQs at {run.view.ms(first)} ms and {now} at {run.view.ms(last)} ms:"
                f" {now - before} more > limit {limit:g} ({run.limits.named('max_dsq_growth')})"
            )
            details.append(_broken("DSQ leak", what, now - before, limit))
    return details


_CHECKS: tuple[Callable[[Watched], list[Detail]], ...] = (
    work_conservation, bounded_wait, affinity, one_queue, vtime_forward, cgroup_shares, dsq_leak,
)  # fmt: skip
