"""A failure dump (``*.failure-dump.json``): what the machine was like when a scheduler under test was lost.

Every key is always written: null, ``[]`` or ``{}`` where nothing is known, and then ``unavailable`` says why, by the
name of the part. It holds what the guest was and did, and nothing of when and where it ran: under counted instructions
the same inputs give the same bytes. ``schemas/failure_dump.schema.json`` is made from these types
(``record.dump_schema``).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.kernel import BpfMap, BpfProgram
from ktstr.record.machine import ExitReason
from ktstr.record.numbers import Count, Cpu
from ktstr.record.sidecar import Accel, InputDigest, VerifierStats

DUMP_VERSION: Literal[1] = 1
Stage: TypeAlias = Literal[
    "guest_silent", "guest_ready", "scheduler_started", "scheduler_attached", "workload_started", "workload_ended"
]
# What sched_ext calls the ways in which a scheduler ends (enum scx_exit_kind, kernel/sched/ext/internal.h).
ExitKind: TypeAlias = Literal[
    "unreg", "unreg_bpf", "unreg_kern", "sysrq", "parent", "error", "error_bpf", "error_stall", "unknown"
]
Owner: TypeAlias = Literal["kernel", "in_transit", "bpf_scheduler"]
Part: TypeAlias = Literal[
    "exit", "sched_ext_dump", "cpus", "waiting", "dsqs", "programs", "maps", "registers", "stacks", "console",
    "scheduler_log", "kernel_log", "early",
]  # fmt: skip
# A u64 of the kernel's as it prints it: JSON's numbers end at 2**53.
Hex: TypeAlias = Annotated[str, Meta(pattern="^0x[0-9a-f]{1,16}$")]


class ExitInfo(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How sched_ext let go of the scheduler, in the kernel's own words."""

    kind: ExitKind
    reason: Annotated[str, Meta(description="scx_exit_info.reason: what the kernel calls the kind")]
    message: Annotated[str, Meta(description="scx_exit_info.msg")]
    cpu: Annotated[Cpu | None, Meta(description="the CPU that the exit began on; kernels before 7.x do not say it")]
    task: Annotated[str | None, Meta(description="who ran there: name[pid]")]
    backtrace: Annotated[tuple[str, ...], Meta(description="where the kernel was, innermost call first")]
    at_ns: Annotated[Count | None, Meta(description="guest time at which the agent noticed")]


class CurrentTask(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a CPU runs. ``sched_class`` as the kernel names it: ext, fair, rt, dl, stop, idle."""

    pid: Count
    comm: str
    sched_class: str | None
    stack: tuple[str, ...]


class CpuState(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A CPU's runqueue."""

    cpu: Cpu
    current: CurrentTask | None
    nr_running: Annotated[Count | None, Meta(description="runnable tasks of every class")]
    scx_nr_running: Annotated[Count | None, Meta(description="runnable tasks of sched_ext")]
    scx_flags: Hex | None
    local_dsq_depth: Count | None
    clock_ns: Annotated[Count | None, Meta(description="rq->clock")]


class WaitingTask(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task that is runnable and does not run."""

    pid: Count
    comm: str
    cpu: Annotated[Cpu, Meta(description="whose runqueue it is on")]
    state: Annotated[str, Meta(description="as ps prints it: R")]
    waited_ms: Annotated[int | None, Meta(description="since it became runnable; the kernel counts it in ticks")]
    dsq: Annotated[Hex | None, Meta(description="the dispatch queue it is in; null: in none")]
    where: Annotated[str, Meta(description="the same in words")]
    allowed_cpus: Annotated[str | None, Meta(description="a CPU list")]
    weight: Count | None
    slice_ns: Count | None
    vtime: Count | None
    owner: Annotated[Owner | None, Meta(description="who has it to place (scx.ops_state); null: not known")]
    stack: tuple[str, ...]


class Dsq(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A dispatch queue. ``pids``: its tasks, in its order where memory was read, the first ones where they are many."""

    id: Hex
    name: str
    cpu: Annotated[Cpu | None, Meta(description="of a CPU's local queue; null otherwise")]
    depth: Count
    pids: tuple[Count, ...]


class Snapshot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The machine at one moment. ``source``: the kernel's own dump, or memory read from outside."""

    source: Literal["sched_ext_dump", "guest_memory"]
    at_ns: Annotated[Count | None, Meta(description="guest time; null where the source does not say it")]
    cpus: tuple[CpuState, ...]
    waiting: Annotated[tuple[WaitingTask, ...], Meta(description="longest wait first")]
    dsqs: tuple[Dsq, ...]
    events: Annotated[dict[str, int], Meta(description="sched_ext's event counters")]
    programs: tuple[BpfProgram, ...]
    maps: Annotated[tuple[BpfMap, ...], Meta(description="with their first entries")]
    registers: Annotated[tuple[dict[str, Hex], ...], Meta(description="by vCPU")]
    unavailable: Annotated[dict[Part, str], Meta(description="why a part is not there")]


class Inspected(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was read of one scheduler in a guest's memory, beside the samples of its monitor.

    ``programs``: its BPF programs, as they were when they were first seen. ``profile``: the same when they were last
    seen; empty unless the kernel counts their runs (kernel.bpf_stats_enabled). ``early``: when a task had waited half
    of what the watchdog allows; ``late``: as the machine was left. ``unread``: why there is nothing.
    """

    programs: tuple[BpfProgram, ...]
    profile: tuple[BpfProgram, ...]
    watchdog_timeout_ms: Count | None
    early: Snapshot | None
    late: Snapshot | None
    unread: str | None


class DumpedMachine(Struct, frozen=True, forbid_unknown_fields=True):
    """How the machine ended."""

    reason: ExitReason
    detail: str


class FailureDump(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What there is to know of a lost scheduler. ``late``: as it was evicted; ``early``: before, when a task had
    waited half of what the watchdog allows.
    """

    version: Literal[1]
    is_placeholder: Annotated[bool, Meta(description="it was lost before it attached: there is nothing to look at")]
    stage: Annotated[Stage, Meta(description="how far the run had come")]
    summary: Annotated[str, Meta(description="what happened, in one sentence")]
    cell: str
    input_digest: InputDigest
    accel: Accel
    scheduler: Annotated[str | None, Meta(description="the sched_ext ops' name; null when it never attached")]
    kernel_release: str | None
    exit: ExitInfo | None
    machine: DumpedMachine
    late: Snapshot | None
    early: Snapshot | None
    verifier_stats: tuple[VerifierStats, ...]
    sched_ext_dump: Annotated[str, Meta(description="what sched_ext printed as it gave up; cut where it is long")]
    console: Annotated[tuple[str, ...], Meta(description="the last lines")]
    scheduler_log: Annotated[tuple[str, ...], Meta(description="the last lines")]
    kernel_log: Annotated[tuple[str, ...], Meta(description="what the kernel said of the scheduler, the last lines")]
    refusal_log: Annotated[
        tuple[str, ...], Meta(description="of the bpf(2) call that was refused, the last lines")
    ] = ()
    unavailable: Annotated[dict[Part, str], Meta(description="why a part is not there")]
