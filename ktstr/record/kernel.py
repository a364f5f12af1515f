"""What was read of a guest's kernel from outside: runqueues, sched_ext, BPF programs and maps, tasks, stacks, its log.

``error`` of a value says that memory made no sense there, and where; what else the value holds was read before that,
and what could not be read is None or absent, never 0. Times are of the guest's clocks. What guests say is at most as
long as here, and holds no control characters but newlines and tabs.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count

Fault: TypeAlias = Annotated[str, Meta(max_length=400, description="why it could not be read further")]
CpuNumber: TypeAlias = Annotated[int, Meta(ge=0, le=8191)]
Name: TypeAlias = Annotated[str, Meta(max_length=256)]
Text: TypeAlias = Annotated[str, Meta(max_length=1 << 20)]
Hex: TypeAlias = Annotated[str, Meta(pattern="^0x[0-9a-f]+$")]

ANY_VALUE = "what was there, as BTF types it: numbers, names of enumerators, texts, arrays, structures by member"


class TaskRef(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task by what tells it from others."""

    pid: int
    comm: Name


class SchedInfo(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``rq_sched_info`` and its neighbours; null where the kernel does not count (kernel.sched_schedstats;
    ``run_delay_ns``, ``pcount``: CONFIG_SCHED_INFO)."""

    run_delay_ns: Count | None = None
    pcount: Count | None = None
    yld_count: Count | None = None
    sched_count: Count | None = None
    sched_goidle: Count | None = None
    ttwu_count: Count | None = None
    ttwu_local: Count | None = None


class ScxRunqueue(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``rq->scx``. ``runnable``: the tasks of its runnable list, longest waiting first."""

    nr_running: Count
    flags: Count
    local_dsq_nr: Count
    cpu_released: bool | None = None
    runnable: tuple[Task, ...] = ()
    error: Fault | None = None


class CfsRunqueue(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``rq->cfs``. ``nr_queued``: its own entities, groups among them; ``h_nr_queued``: tasks below it."""

    nr_queued: Count | None = None
    h_nr_queued: Count | None = None
    load: Count | None = None


class Runqueue(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A CPU's ``struct rq``. ``clock_ns``: as of its last update; ``curr``: what runs, pid 0 being idle."""

    cpu: CpuNumber
    nr_running: Count | None = None
    clock_ns: Count | None = None
    nr_switches: Count | None = None
    curr: TaskRef | None = None
    scx: ScxRunqueue | None = None
    cfs: CfsRunqueue | None = None
    sched_info: SchedInfo | None = None
    error: Fault | None = None


class SchedDomain(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One level of a CPU's ``rq->sd``, lowest first. ``counters``: each statistic of this kernel's ``struct
    sched_domain`` (``lb_count`` and others have one number for each idle type), absent where it has none."""

    level: int
    name: Name
    flags: Count
    span_weight: Count
    balance_interval: Count
    nr_balance_failed: Count
    max_newidle_lb_cost: Count
    counters: dict[str, int | tuple[int, ...]]


class SchedDomains(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Those of one CPU."""

    cpu: CpuNumber
    domains: tuple[SchedDomain, ...] = ()
    error: Fault | None = None


class Task(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A thread. ``state``: as ps(1) has it. ``cpu``: where it is queued or ran last; ``on_cpu``: it runs now.

    ``waiting_ms``: since it became runnable and has not run, by ``scx.runnable_at`` (of jiffies) under sched_ext, else
    by ``sched_info.last_queued``; null for one that runs or sleeps, or of which that is not known. ``dsq``: the id of
    the DSQ that it is on. ``policy``: SCHED_*; ``allowed``: its CPUs.
    """

    pid: int
    tgid: int
    comm: Name
    state: str
    cpu: CpuNumber | None = None
    on_cpu: bool | None = None
    on_rq: bool | None = None
    policy: int | None = None
    prio: int | None = None
    allowed: tuple[CpuNumber, ...] | None = None
    cgroup: Annotated[str, Meta(max_length=4096)] | None = None
    runtime_ns: Count | None = None
    waiting_ms: Annotated[float, Meta(ge=0)] | None = None
    scx: bool | None = None
    slice_ns: Count | None = None
    dsq_vtime: Count | None = None
    dsq: Hex | None = None
    address: Hex


class Tasks(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All threads, in the order of the kernel's lists."""

    tasks: tuple[Task, ...] = ()
    error: Fault | None = None


class Frame(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One function of a stack. ``name``: with its offset, as the kernel prints it; a BPF program's is bpf_prog_..."""

    pc: Hex
    name: Name | None = None


class Stack(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A kernel stack, innermost first. ``running``: it was unwound from a vCPU's registers."""

    pid: int
    comm: Name
    cpu: CpuNumber | None = None
    running: bool = False
    user_mode: bool = False
    frames: tuple[Frame, ...] = ()
    error: Fault | None = None


class ScxExit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``struct scx_exit_info``. ``kind``: an enumerator of ``enum scx_exit_kind``; ``dump``: sched_ext's own."""

    kind: Name
    code: int
    reason: Text | None = None
    msg: Text | None = None
    dump: Text | None = None
    backtrace: tuple[Frame, ...] = ()
    error: Fault | None = None


class ScxState(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What sched_ext is doing. ``state``: an enumerator of ``enum scx_enable_state``, as sysfs has it (enabled,
    disabled, ...); ``ops``: the scheduler's name, null when there is none; ``address`` and ``enable_seq`` change when
    a scheduler is loaded anew."""

    state: Name | None = None
    ops: Name | None = None
    enable_seq: Count | None = None
    address: Hex | None = None
    watchdog_timeout_ms: Count | None = None
    bypass_depth: int | None = None
    slice_dfl_ns: Count | None = None
    exit: ScxExit | None = None
    error: Fault | None = None


class CpuEvents(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The counters of ``struct scx_event_stats`` of one CPU by their names without SCX_EV_, in small letters; an
    absent one this kernel does not have."""

    cpu: CpuNumber
    events: dict[str, int]


class ScxEvents(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The event counters of the scheduler that is loaded; no CPU where there is none or the kernel counts none."""

    cpus: tuple[CpuEvents, ...] = ()
    error: Fault | None = None


class Dsq(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A dispatch queue. ``name``: as people write it: LOCAL of a CPU, GLOBAL of a node, BYPASS, or the scheduler's own
    number. ``nr``: as the kernel counts; ``tasks``: first to last."""

    id: Hex
    name: Name
    cpu: CpuNumber | None = None
    node: Count | None = None
    nr: Count
    tasks: tuple[Task, ...] = ()
    error: Fault | None = None


class Dsqs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    dsqs: tuple[Dsq, ...] = ()
    error: Fault | None = None


class BpfProgram(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the BPF programs. ``run_cnt`` and ``run_time_ns``: 0 unless kernel.bpf_stats_enabled; per call they are
    the profile of a scheduler's callbacks. ``callback``: the member of sched_ext_ops that it is, null for others."""

    id: Count
    name: Name
    type: Name
    tag: Name
    verified_insns: Count
    jited_len: Count
    run_cnt: Count
    run_time_ns: Count
    recursion_misses: Count
    callback: Name | None = None
    load_time_ns: Count | None = None
    map_ids: tuple[Count, ...] = ()


class BpfPrograms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    programs: tuple[BpfProgram, ...] = ()
    error: Fault | None = None


class MapEntry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``key``: null where there is none (STRUCT_OPS, and .bss and its like). ``value``: for per-CPU maps an array of
    one for each possible CPU."""

    key: Annotated[object, Meta(description=ANY_VALUE)]
    value: Annotated[object, Meta(description=ANY_VALUE)]


class BpfMap(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the BPF maps. ``entries``: null where those of its type are not read; ``truncated``: there are more."""

    id: Count
    name: Name
    type: Name
    key_size: Count
    value_size: Count
    max_entries: Count
    frozen: bool = False
    entries: tuple[MapEntry, ...] | None = None
    truncated: bool = False
    error: Fault | None = None


class BpfMaps(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    maps: tuple[BpfMap, ...] = ()
    error: Fault | None = None


class LogLine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record of the kernel's log (dmesg). ``level``: 0 emergency to 7 debug."""

    seq: Count
    at_ns: Count
    level: Annotated[int, Meta(ge=0, le=7)]
    text: Annotated[str, Meta(max_length=4096)]


class KernelLog(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The records that are still there, oldest first."""

    lines: tuple[LogLine, ...] = ()
    error: Fault | None = None
