"""What was seen in a guest's memory while it ran, moment by moment: runqueues, and the tasks on them.

Raw facts, as the kernel has them; ``checks.samples`` judges. What was not read is None, never 0. Clocks are of the
guest's scheduler (``rq->clock``, ns); ``at_ns`` is the moment's own (``vm.moments``).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ktstr.record.numbers import Count

TaskClass: TypeAlias = Literal["fair", "ext", "rt", "deadline", "stop", "idle", "other"]

MAX_WAITING = 64  # tasks read of one runqueue
MAX_TASKS = 4096  # tasks that are named, in a run
MAX_CPU_SAMPLES = 65536  # samples of a run times CPUs


class TaskSample(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One task of a runqueue.

    ``queued_ns``: the runqueue's clock when it was last put there (sched_info.last_queued), None while it runs.
    ``runnable_ms``: sched_ext's own count of how long it has been runnable. ``dsq``: the dispatch queue it is on, None
    on none. ``allowed``: the CPUs that it may run on, as a list; ``exec_ns``: all it ever ran.
    """

    pid: Count
    kind: TaskClass
    allowed: str
    exec_ns: Count
    vtime: Count
    queued_ns: Count | None = None
    runnable_ms: Count | None = None
    dsq: Count | None = None


class CpuSample(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One runqueue. ``running``: None for the idle task. ``waiting``: at most ``MAX_WAITING``, in the kernel's order;
    ``cut`` when there were more. ``switches``: how often it switched between tasks, ever. ``given_ns`` and
    ``denied_ns``: how long the vCPU's thread ran on a host CPU so far, and waited for one.
    """

    nr_running: Count
    clock: Count
    switches: Count
    running: TaskSample | None = None
    waiting: tuple[TaskSample, ...] = ()
    cut: bool = False
    scx_nr_running: Count | None = None
    local_dsq: Count | None = None
    scx_flags: Count | None = None
    given_ns: Count | None = None
    denied_ns: Count | None = None


class Schedstat(Struct, frozen=True, forbid_unknown_fields=True):
    """Sums over CPUs of what /proc/schedstat counts."""

    run_delay: Count
    pcount: Count
    sched_count: Count
    yld_count: Count
    sched_goidle: Count
    ttwu_count: Count
    ttwu_local: Count


class MonitorSample(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One moment. ``events``: sched_ext's counters, summed over CPUs, by the kernel's name without SCX_EV_; None while
    no scheduler is attached. ``root``: where its ``struct scx_sched`` is: another one begins to count anew. ``dsqs``:
    how many dispatch queues a scheduler has made and not destroyed; None where the kernel's table cannot be found."""

    at_ns: Count
    cpus: tuple[CpuSample, ...]
    events: dict[str, int] | None = None
    schedstat: Schedstat | None = None
    root: Count | None = None
    dsqs: Count | None = None


class TaskName(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose samples they are. ``cgroup``: its path below the root, which is ``/``."""

    pid: Count
    comm: str
    cgroup: str


class MonitorRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All moments of a run. ``begin_ns``: when its scenario began, in ``at_ns``'s time; None when that was not seen.

    ``unwatched``: why there are none, or none from some moment on; None when it was watched to its end. ``cost_s``: how
    long reading took, of the host's time.
    """

    samples: tuple[MonitorSample, ...]
    tasks: tuple[TaskName, ...]
    begin_ns: Count | None
    unwatched: str | None
    cost_s: float | None
