"""Synthetic samples: one every 100 ms, of CPUs whose clocks keep up."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ktstr.checks.samples import View
from ktstr.record.samples import CpuSample, MonitorSample, TaskName, TaskSample

MS = 1_000_000
PERIOD = 100 * MS
START = 8_000 * MS  # the machine had run so long before
BEHIND = 300 * MS  # the scheduler's clock began so much later
LOCAL, SHARED = (1 << 63) | 2, 7


def task(pid: int, *, waits_ms: float | None = None, **changes: object) -> TaskSample:
    """A fair task on four CPUs that ran 1 ms in all. ``waits_ms``: resolved by ``view``; None for one that runs."""
    base = TaskSample(pid=pid, kind="fair", allowed="0-3", exec_ns=MS, vtime=0)
    queued = None if waits_ms is None else -round(waits_ms * MS)
    return replace(base, queued_ns=queued, **changes)


def ext(pid: int, dsq: int | None, *, waits_ms: float = 10, **changes: object) -> TaskSample:
    return task(pid, waits_ms=waits_ms, kind="ext", dsq=dsq, **changes)


def cpu(running: TaskSample | None = None, *waiting: TaskSample, **changes: object) -> CpuSample:
    """A runqueue whose clock is right and that has not switched since."""
    length = (running is not None) + len(waiting)
    return replace(CpuSample(nr_running=length, clock=0, switches=5, running=running, waiting=waiting), **changes)


def view(*moments: Sequence[CpuSample], names: dict[int, str] | None = None) -> View:
    """Samples of these CPUs, 100 ms apart, the first one as the workload begins. A clock of 0 is made to be right."""
    samples = []
    for number, cpus in enumerate(moments):
        at = START + number * PERIOD
        placed = tuple(
            replace(one, clock=one.clock or at - BEHIND, waiting=tuple(_at(each, at) for each in one.waiting))
            for one in cpus
        )
        samples.append(MonitorSample(at_ns=at, cpus=placed))
    tasks = {pid: TaskName(pid, f"worker/{pid}", cgroup) for pid, cgroup in (names or {}).items()}
    return View(tuple(samples), tasks, START - 40 * MS, START, samples[-1].at_ns)


def _at(waiting: TaskSample, at: int) -> TaskSample:
    return waiting if waiting.queued_ns is None else replace(waiting, queued_ns=at - BEHIND + waiting.queued_ns)
