"""What the guest reported over its channel, decoded and bounded.

A number that was not measured is None. Times are guest nanoseconds. Counts are what the agent sends as unsigned
64-bit integers. A field without a default is in every stored record; one that is added later defaults to None, so
that records without it stay readable (``record.codec``).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ktstr.record.numbers import CgroupIndex, Count, Cpus, refuse_repeats

SchedEventKind: TypeAlias = Literal[
    "started",
    "spawn_failed",
    "attached",
    "attach_timeout",
    "exited",
    "signaled",
    "evicted",
    "detached",
    "detach_failed",
]
Stream: TypeAlias = Literal["stdout", "stderr"]
PayloadEventKind: TypeAlias = Literal["started", "spawn_failed", "exited", "signaled", "killed", "timed_out"]


class SchedEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """One step in the life of the scheduler under test. ``code`` is an exit status, signal or errno."""

    at_ns: Count
    kind: SchedEventKind
    code: int
    text: str


RetryOutcome: TypeAlias = Literal["refused", "accepted", "attached", "timed_out", "untraced"]


class Refusal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of a loader that ended before it attached, when it was started once more with its bpf(2) calls traced.

    ``refused``: the kernel refused ``command`` (as linux/bpf.h calls it) for the program or map ``name`` with
    ``error``, and nothing was made after that; ``text`` is the end of the call's own log. ``accepted``: it refused
    nothing of the kind. ``attached``, ``timed_out``: this time it went on. ``untraced``: ``error`` says why.
    ``calls``: of bpf(2). ``alike``: whether it ended as it had the first time.
    """

    at_ns: Count
    outcome: RetryOutcome
    command: str | None
    name: str
    error: int
    calls: Count
    alike: bool
    text: str


class GuestCpu(Struct, frozen=True, forbid_unknown_fields=True):
    """One CPU as the guest's sysfs shows it; ``llc_cpus``/``smt_cpus`` are the shared CPU lists."""

    cpu: int
    node: int
    package: int
    llc_cpus: tuple[int, ...]
    smt_cpus: tuple[int, ...]


class GuestNode(Struct, frozen=True, forbid_unknown_fields=True):
    """One NUMA node that is online. ``memory_kib``: that is present. ``initiators``: the nodes with CPUs that are
    nearest to its memory by ACPI's HMAT; empty where nothing says so."""

    node: Count
    memory_kib: Count
    initiators: tuple[int, ...]


class Migration(Struct, frozen=True, forbid_unknown_fields=True):
    """A CPU change seen at a look at the clock, offset from the worker's start."""

    at_ns: int
    from_cpu: int
    to_cpu: int


class WorkerSummary(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one worker measured, without its raw samples: what a sidecar has of it.

    ``max_gap_off_cpu_ns``: the part of the largest gap in which the kernel did not charge the worker
    CPU time; the rest of the gap the kernel believed it was running, so the machine, not the
    scheduler, owns it. ``max_stall_ns``/``max_stall_cpu``: the largest CPU time charged between two
    looks at the clock, with fixed work between, and where: how long a vCPU was left unrun.
    ``exit_info`` is None for a report the worker wrote itself. ``spawn``: how often it had been spawned before.
    ``open_wait_ns``: a wait that its end cut short, 0 when none was open. ``measuring_calls``: the system calls that
    it made to measure. ``counts``: what its work type counts beside iterations, by name (``work_types.def``).
    ``request_sample_total``: how many requests it timed. ``place``: in the group that works together.
    """

    index: Count
    work_index: Count
    cgroup: CgroupIndex
    tid: int
    work_units: Count
    iterations: Count
    cpu_time_ns: Count
    wall_time_ns: Count
    migration_count: Count
    cpus_used: Cpus
    max_gap_ns: Count
    max_gap_cpu: Count
    max_gap_at_ns: Count
    max_gap_off_cpu_ns: Count
    max_stall_ns: Count
    max_stall_cpu: Count
    wake_sample_total: Count
    schedstat_cpu_time_ns: Count | None
    schedstat_run_delay_ns: Count | None
    schedstat_run_count: Count | None
    completed: bool
    exit_info: str | None
    spawn: Count | None
    open_wait_ns: Count | None
    measuring_calls: Count | None
    counts: dict[str, Count] | None = None
    request_sample_total: Count | None = None
    place: Count | None = None

    def __post_init__(self) -> None:
        refuse_repeats("cpus_used", self.cpus_used)


class WorkerReport(WorkerSummary, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one worker measured (spec: 22 fields, of which these work types give the ones here) with its samples.

    ``numa_pages``: by node, the pages of the memory that it works in, with all workers of its process.
    ``numa_pages_migrated``: between nodes, in the whole machine, since its release. None where nobody asked, or where
    the kernel does not tell. ``counted``: the counts of its work type, in the agent's order, then zeros.
    ``request_latencies_ns``: None of a work type that has no requests.
    """

    migrations: tuple[Migration, ...]
    wake_latencies_ns: tuple[int, ...]
    numa_pages: tuple[Count, ...] | None = None
    numa_pages_migrated: Count | None = None
    spawn: Count | None = None
    open_wait_ns: Count | None = None
    measuring_calls: Count | None = None
    counted: tuple[Count, ...] | None = None
    request_latencies_ns: tuple[Count, ...] | None = None


class VcpuReport(Struct, frozen=True, forbid_unknown_fields=True):
    """Per-vCPU totals over the run, deltas of the guest's /proc/schedstat (cpuN fields 7, 8, 9)."""

    cpu: Count
    run_ns: Count
    run_delay_ns: Count
    timeslices: Count


class Stimulus(Struct, frozen=True, forbid_unknown_fields=True):
    """A step the agent took, with the workers' cumulative iterations at that moment.

    ``index``: the op's place among the program's. ``scope``: 0 outside of every Scope, else the place of the innermost
    one, plus 1. ``iteration``: in a Repeat an op is told in the first pass only, and the block once more when it ends,
    with the number of its passes here.
    """

    at_ns: int
    op: str
    detail: str
    total_iterations: int
    index: Count | None = None
    scope: Count | None = None
    iteration: Count | None = None


class OpError(Struct, frozen=True, forbid_unknown_fields=True):
    """What went wrong in an op that records its errors, by its place, and did not end the run."""

    op: Count
    text: str


class Progress(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far one worker came since the checkpoint before, or since its release.

    ``spawn``: how often it had been spawned before. ``wakes``: how often it was woken. ``max_gap_ns``: the largest gap
    that ended since then.
    """

    worker: Count
    spawn: Count
    iterations: Count
    work_units: Count
    cpu_time_ns: Count
    migrations: Count
    wakes: Count
    max_gap_ns: Count


class Checkpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """What each worker did, as the Checkpoint op at a place sent it under the number of a phase."""

    at_ns: Count
    phase: Count
    op: Count
    workers: tuple[Progress, ...]


class FileRead(Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of the guest held when the Read op at a place read it, cut when it is long.

    ``bytes``: of the whole file.
    """

    at_ns: Count
    op: Count
    bytes: Count
    text: str


class PayloadEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """One step in the life of a payload. ``code`` is an exit status, signal or errno."""

    at_ns: Count
    payload: Count
    kind: PayloadEventKind
    code: int


class PayloadLog(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a payload printed to one of its outputs and the agent kept; ``stream`` None: to both."""

    payload: Count
    text: str
    stream: Stream | None = None


class DrawnDelay(Struct, frozen=True, forbid_unknown_fields=True):
    """What the Delay op at a place drew."""

    op: Count
    ns: Count


class GuestRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything the guest sent over the channel, decoded and bounded. One that sent nothing is ``SILENT``.

    ``begin_tsc``: the time stamp counter when the scenario began, None when it did not.
    ``op_errors``, ``checkpoints``, ``reads``, ``payload_events``, ``payload_logs`` and ``delays`` are None when none
    came. ``delays_drawn``: how many delays were drawn, of which ``delays`` are the first. ``sched_dump``: what
    sched_ext printed of the machine's state as it gave up, None when it did not. ``sched_printk``: what programs
    printed with bpf_printk, None when they did not. ``refusal``: why a loader did not
    attach, None for one that did or never ended. ``nodes``, ``possible_cpus``, ``present_cpus``: None where the kernel
    does not tell.
    """

    kernel_release: str | None = None
    cpus: tuple[GuestCpu, ...]
    node_distances: tuple[tuple[int, ...], ...]
    sched_events: tuple[SchedEvent, ...]
    sched_log: str
    sched_kmsg: str
    workers: tuple[WorkerReport, ...]
    vcpus: tuple[VcpuReport, ...]
    stimuli: tuple[Stimulus, ...]
    errors: tuple[str, ...]
    ended: bool
    deadline_hit: bool
    end_ns: int | None = None
    op_errors: tuple[OpError, ...] | None = None
    checkpoints: tuple[Checkpoint, ...] | None = None
    reads: tuple[FileRead, ...] | None = None
    payload_events: tuple[PayloadEvent, ...] | None = None
    payload_logs: tuple[PayloadLog, ...] | None = None
    delays: tuple[DrawnDelay, ...] | None = None
    delays_drawn: Count | None = None
    sched_dump: str | None = None
    begin_tsc: Count | None = None
    sched_printk: str | None = None
    refusal: Refusal | None = None
    nodes: tuple[GuestNode, ...] | None = None
    possible_cpus: tuple[int, ...] | None = None
    present_cpus: tuple[int, ...] | None = None


SILENT = GuestRecord(
    cpus=(),
    node_distances=(),
    sched_events=(),
    sched_log="",
    sched_kmsg="",
    workers=(),
    vcpus=(),
    stimuli=(),
    errors=(),
    ended=False,
    deadline_hit=False,
)
