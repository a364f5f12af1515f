"""The samples of a run as its judges see them: those taken while the workload ran, with what follows from them.

A moment's time and the guest's scheduler clock (``rq->clock``) pass alike and begin apart. A CPU that is busy brings
its clock up to date at each tick, so the smallest difference that was seen is that between the two, short of a tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from ktstr import cpulist
from ktstr.checks.dsq import BUILTIN, BYPASS, GLOBAL, INVALID, LOCAL
from ktstr.checks.formulas import MS, NS
from ktstr.checks.restraint import NONE, Restraints
from ktstr.record.cell import CellRecord
from ktstr.record.samples import CpuSample, MonitorSample, TaskName, TaskSample

T = TypeVar("T")
_BUILTIN_NAMES = {INVALID: "invalid", GLOBAL: "global", LOCAL: "local", BYPASS: "bypass"}


@dataclass(frozen=True)
class Waiting:
    """A task that waits in one sample: on which CPU's runqueue, and for how long (ns; None: not known)."""

    cpu: int
    task: TaskSample
    wait_ns: int | None


@dataclass(frozen=True)
class View:
    """``samples``: in order, of the time in which the workload ran.

    By the moments' clock: ``begin_ns``: when the scenario began; ``start_ns`` and ``end_ns``: the workload's time;
    ``end_ns`` is None when it was not seen to end. ``restraints``: what the scenario itself kept tasks off CPUs by.
    """

    samples: tuple[MonitorSample, ...]
    names: Mapping[int, TaskName]
    begin_ns: int
    start_ns: int
    end_ns: int | None
    restraints: Restraints = NONE

    @cached_property
    def offset_ns(self) -> int:
        return min((s.at_ns - max(cpu.clock for cpu in s.cpus) for s in self.samples), default=0)

    def waiting(self, sample: MonitorSample) -> Iterator[Waiting]:
        """Every task that waits in a sample."""
        now, absent_ns = sample.at_ns - self.offset_ns, self._absent_ns[sample.at_ns]
        for cpu, state in enumerate(sample.cpus):
            for task in state.waiting:
                ns = _wait_ns(task, now)
                if ns is not None and task.kind == "fair" and task.pid in absent_ns:
                    ns = min(ns, sample.at_ns - absent_ns[task.pid])
                yield Waiting(cpu, task, ns)

    @cached_property
    def _absent_ns(self) -> Mapping[int, Mapping[int, int]]:
        """By a sample's time: when a task that waits there was last seen not to, or the scenario's begin. It waits
        since then at most, whatever the kernel says: a fair task that load balancing moves after it left in a delayed
        way is stamped as one that waits, and keeps that stamp as it sleeps (6.12's enqueue_task, and dequeue_entities,
        which clears none). Without those that a runqueue may have had which was not read whole."""
        found: dict[int, dict[int, int]] = {}
        before: dict[int, int | None] = {}
        absent_ns: int | None = self.begin_ns
        for sample in self.samples:
            pids = {task.pid for cpu in sample.cpus for task in cpu.waiting}
            before = {pid: before.get(pid, absent_ns) for pid in pids}
            found[sample.at_ns] = {pid: ns for pid, ns in before.items() if ns is not None}
            absent_ns = None if any(cpu.cut for cpu in sample.cpus) else sample.at_ns
        return found

    def runnable(self, sample: MonitorSample) -> Iterator[Waiting]:
        """Those of them that could run: kernels before 6.18 leave a task that cpu.max throttles on its queue."""
        return (one for one in self.waiting(sample) if not self.is_throttled(one.task))

    def is_throttled(self, task: TaskSample) -> bool:
        """Whether a task may be throttled while it waits."""
        return self.restraints.throttles(self.cgroup(task.pid))

    def is_unbalanced(self, task: TaskSample) -> bool:
        """Whether no load is balanced where it is: then it may wait beside an idle CPU."""
        return self.restraints.is_unbalanced(self.cgroup(task.pid))

    def offline(self, sample: MonitorSample) -> frozenset[int]:
        """The CPUs that the scenario had taken offline at a sample, or was about to."""
        return self.restraints.offline_at(sample.at_ns - self.begin_ns)

    def who(self, pid: int) -> str:
        name = self.names.get(pid)
        return f"{name.comm}[{pid}]" if name is not None else f"task {pid}"

    def cgroup(self, pid: int) -> str | None:
        name = self.names.get(pid)
        return None if name is None else name.cgroup

    def ms(self, sample: MonitorSample) -> int:
        """When a sample was taken, in ms since the workload began."""
        return (sample.at_ns - self.start_ns) // MS

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return (self.samples[-1].at_ns - self.samples[0].at_ns) / NS if self.samples else 0.0


def _wait_ns(task: TaskSample, now: int) -> int | None:
    """Since it was put on this runqueue, or since sched_ext saw it become runnable: a task that is moved while it waits
    is queued anew."""
    since = [] if task.queued_ns is None else [max(0, now - task.queued_ns)]
    if task.runnable_ms is not None:
        since.append(task.runnable_ms * MS)
    return max(since, default=None)


def longest_run(items: Sequence[T], holds: Callable[[T], bool]) -> Sequence[T]:
    """The longest stretch of items that all hold; empty when none does."""
    best, begin = (0, 0), 0
    for index, item in enumerate(items):
        if not holds(item):
            begin = index + 1
        elif index + 1 - begin > best[1] - best[0]:
            best = (begin, index + 1)
    return items[best[0] : best[1]]


def is_idle(cpu: CpuSample) -> bool:
    """Nothing runs there, whatever is queued."""
    return cpu.running is None


@lru_cache(maxsize=1024)
def cpus_of(allowed: str) -> frozenset[int]:
    """The CPUs of a list of a sample's; none for what is no list."""
    try:
        return frozenset(cpulist.parse(allowed))
    except ValueError:
        return frozenset()


def queue_name(cpu: int, task: TaskSample) -> str:
    """Where a waiting task sits, in words."""
    if task.kind != "ext":
        return f"on CPU {cpu}'s {task.kind} runqueue"
    if task.dsq is None:
        return f"on no DSQ (CPU {cpu})"
    if task.dsq == LOCAL:
        return f"in CPU {cpu}'s local DSQ"
    if task.dsq & BUILTIN:
        return f"in the {_BUILTIN_NAMES.get(task.dsq, 'built-in')} DSQ"
    return f"in DSQ {task.dsq:#x}"


def is_shared(task: TaskSample) -> bool:
    """Whether any CPU may take it from where it waits: then it is no CPU's own."""
    return task.kind == "ext" and task.dsq != LOCAL


def view(record: CellRecord, restraints: Restraints = NONE, ended_ns: int | None = None) -> View | None:
    """The samples while the workload ran, from the first Release to the last StopWorkers; of a scenario with steps to
    ``ended_ns``, when its last phase was over. None without any."""
    monitor = record.monitor
    if monitor is None or monitor.begin_ns is None or not monitor.samples:
        return None
    releases = [s.at_ns for s in record.guest.stimuli if s.op == "Release"]
    stops = [s.at_ns for s in record.guest.stimuli if s.op == "StopWorkers"] if ended_ns is None else [ended_ns]
    start = monitor.begin_ns + min(releases, default=0)
    end = monitor.begin_ns + max(stops) if stops else None
    cpus = len(monitor.samples[0].cpus)
    kept = tuple(
        s for s in monitor.samples if start <= s.at_ns and (end is None or s.at_ns <= end) and len(s.cpus) == cpus
    )
    if not kept:
        return None
    return View(kept, {task.pid: task for task in monitor.tasks}, monitor.begin_ns, start, end, restraints)
