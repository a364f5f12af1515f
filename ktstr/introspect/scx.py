"""sched_ext: what it is doing, its event counters, and its dispatch queues (kernel/sched/ext.c).

Since Linux 6.16 all belongs to the ``struct scx_sched`` that ``scx_root`` points to, which each scheduler has anew
and which is gone soon after it ended; before, to variables of the kernel's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ktstr.checks.dsq import BUILTIN, BYPASS, CPU_MASK, GLOBAL, INVALID, LOCAL, LOCAL_ON
from ktstr.introspect.program import GuestProgram, Unreadable, reading
from ktstr.introspect.stacks import frame
from ktstr.introspect.tasks import TaskReader
from ktstr.introspect.walk import linked_list, rhashtable
from ktstr.record.kernel import CpuEvents, Dsq, Dsqs, Frame, ScxEvents, ScxExit, ScxState, Task

MAX_DSQS = 4096
MAX_DSQ_TASKS = 4096
_MAX_TEXT = 1 << 16
_MAX_DUMP = 1 << 20
_MAX_FRAMES = 64
_MAX_NODES = 1024
_MAX_NAME = 128  # SCX_OPS_NAME_LEN
_CURSOR = 1  # SCX_DSQ_LNODE_ITER_CURSOR: no task, but where an iterator is
_BUILTIN_NAMES = {INVALID: "INVALID", GLOBAL: "GLOBAL", LOCAL: "LOCAL", BYPASS: "BYPASS"}
_STATE_VARIABLES = ("scx_enable_state_var", "scx_ops_enable_state_var")
_STATE_ENUMS = ("scx_enable_state", "scx_ops_enable_state")
_STATE_PREFIXES = ("SCX_ENABLE_", "SCX_OPS_", "SCX_")
_EVENT_PREFIX = "SCX_EV_"
_MS_PER_S = 1000


def scx_root(program: GuestProgram) -> int | None:
    """Where the ``struct scx_sched`` of the scheduler is that is loaded; None where there is none, and before Linux
    6.16. Raises Unreadable."""
    if not program.has("scx_root"):
        return None
    return program.u64(program.address("scx_root")) or None


def read_state(program: GuestProgram, hz: int | None) -> ScxState:
    """What sched_ext is doing. Raises nothing: what makes no sense is in ``error``.

    ``hz``: CONFIG_HZ; without it no watchdog timeout is told.
    """
    try:
        with reading("sched_ext"):
            state = _state(program)
            sequence = _atomic(program, "scx_enable_seq", "scx_enabled_seq")
    except Unreadable as err:
        return ScxState(error=str(err))
    try:
        root = scx_root(program)
        with reading("sched_ext"):
            if root is not None:
                return _of_root(program, root, hz, ScxState(state=state, enable_seq=sequence))
            if program.has("scx_ops") and not program.has("scx_root"):
                return _of_globals(program, hz, ScxState(state=state, enable_seq=sequence))
    except Unreadable as err:
        return ScxState(state=state, enable_seq=sequence, error=str(err))
    return ScxState(state=state, enable_seq=sequence)


def _state(program: GuestProgram) -> str | None:
    for variable, enum in zip(_STATE_VARIABLES, _STATE_ENUMS, strict=True):
        if program.has(variable):
            value = int(program.variable(variable).counter)
            for name, number in program.type(f"enum {enum}").enumerators:
                if number == value:
                    return _without(name, _STATE_PREFIXES).lower()
            raise Unreadable(f"{variable} is {value}, which is no state")
    return None


def _atomic(program: GuestProgram, *names: str) -> int | None:
    for name in names:
        if program.has(name):
            return program.u64(program.address(name))
    return None


def _without(name: str, prefixes: tuple[str, ...]) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


def _of_root(program: GuestProgram, root: int, hz: int | None, known: ScxState) -> ScxState:
    sched = program.at("struct scx_sched", root)
    timeout = None
    if program.member_exists("struct scx_sched", "watchdog_timeout"):
        timeout = int(sched.watchdog_timeout)
    elif program.has("scx_watchdog_timeout"):
        timeout = program.u64(program.address("scx_watchdog_timeout"))
    bypass = program.member_exists("struct scx_sched", "bypass_depth")
    info = sched.exit_info.value_()
    return ScxState(
        state=known.state,
        ops=program.text_at(root + program.offset("struct scx_sched", "ops.name"), _MAX_NAME),
        enable_seq=known.enable_seq,
        address=hex(root),
        watchdog_timeout_ms=None if timeout is None or hz is None else timeout * _MS_PER_S // hz,
        bypass_depth=int(sched.bypass_depth) if bypass else None,
        slice_dfl_ns=int(sched.slice_dfl) if program.member_exists("struct scx_sched", "slice_dfl") else None,
        exit=read_exit(program, info) if info else None,
    )


def _of_globals(program: GuestProgram, hz: int | None, known: ScxState) -> ScxState:
    """Before Linux 6.16."""
    ops = program.address("scx_ops")
    timeout = program.u64(program.address("scx_watchdog_timeout")) if program.has("scx_watchdog_timeout") else None
    info = program.u64(program.address("scx_exit_info")) if program.has("scx_exit_info") else 0
    name = program.text_at(ops + program.offset("struct sched_ext_ops", "name"), _MAX_NAME)
    return ScxState(
        state=known.state,
        ops=name or None,
        enable_seq=known.enable_seq,
        watchdog_timeout_ms=None if timeout is None or hz is None else timeout * _MS_PER_S // hz,
        exit=read_exit(program, info) if info else None,
    )


def read_exit(program: GuestProgram, address: int) -> ScxExit:
    """The ``struct scx_exit_info`` at an address. Raises Unreadable when not even its kind can be read."""
    with reading(f"scx_exit_info at {address:#x}"):
        info = program.at("struct scx_exit_info", address).read_()
        kind = info.kind.format_(type_name=False)[:_MAX_NAME]
        code = int(info.exit_code)
    texts: dict[str, str | None] = {}
    error: str | None = None
    for name, size in (("reason", _MAX_TEXT), ("msg", _MAX_TEXT), ("dump", _MAX_DUMP)):
        try:
            with reading(name):
                pointer = info.member_(name).value_()
                texts[name] = (program.text_at(pointer, size) if pointer else None) or None
        except Unreadable as err:
            texts[name], error = None, str(err)
    frames: tuple[Frame, ...] = ()
    try:
        length = min(int(info.bt_len), _MAX_FRAMES)
        if length:
            raw = program.bytes_at(info.bt.value_(), 8 * length)
            pcs = [int.from_bytes(raw[8 * i : 8 * i + 8], "little") for i in range(length)]
            frames = tuple(frame(program, pc) for pc in pcs)
    except Unreadable as err:
        error = str(err)
    return ScxExit(kind=kind, code=code, backtrace=frames, error=error, **texts)


def read_events(program: GuestProgram) -> ScxEvents:
    """The event counters of each possible CPU. Raises nothing."""
    cpus: list[CpuEvents] = []
    try:
        base = event_stats(program)
        if base is None:
            return ScxEvents()
        with reading("event counters"):
            names = [member.name for member in program.type("struct scx_event_stats").members if member.name]
            for cpu in program.cpus:
                raw = program.bytes_at(program.per_cpu(base, cpu), 8 * len(names))
                values = [int.from_bytes(raw[8 * i : 8 * i + 8], "little", signed=True) for i in range(len(names))]
                events = {
                    name.removeprefix(_EVENT_PREFIX).lower(): value for name, value in zip(names, values, strict=True)
                }
                cpus.append(CpuEvents(cpu=cpu, events=events))
    except Unreadable as err:
        return ScxEvents(cpus=tuple(cpus), error=str(err))
    return ScxEvents(cpus=tuple(cpus))


def event_stats(program: GuestProgram) -> int | None:
    """The per-CPU pointer to the ``struct scx_event_stats`` of what is loaded; None where nothing is, or the kernel
    has no counters (before 6.15). Raises Unreadable."""
    root = scx_root(program)
    if root is None:
        has = program.has("event_stats_cpu")  # Linux 6.15: a per-CPU variable of the kernel's
        return program.address("event_stats_cpu") if has and not program.has("scx_root") else None
    if program.member_exists("struct scx_sched", "pcpu"):  # since 6.18
        pointer = program.u64(root + program.offset("struct scx_sched", "pcpu"))
        return pointer + program.offset("struct scx_sched_pcpu", "event_stats")
    if program.member_exists("struct scx_sched", "event_stats_cpu"):
        return program.u64(root + program.offset("struct scx_sched", "event_stats_cpu"))
    return None


def read_dsqs(program: GuestProgram, hz: int | None) -> Dsqs:
    """Every dispatch queue there is, and the tasks on each. Raises nothing. ``hz`` as ``TaskReader``."""
    found: list[Dsq] = []
    try:
        with reading("dispatch queues"):
            reader = TaskReader(program, hz)
            for place in _places(program):
                found.append(_dsq(program, reader, place))
                if len(found) >= MAX_DSQS:
                    raise Unreadable(f"there are {MAX_DSQS} or more")
    except Unreadable as err:
        return Dsqs(dsqs=tuple(found), error=str(err))
    return Dsqs(dsqs=tuple(found))


@dataclass(frozen=True)
class _Place:
    """Where a dispatch queue is, and the CPU or node that it belongs to."""

    address: int
    cpu: int | None = None
    node: int | None = None


def _places(program: GuestProgram) -> Iterator[_Place]:
    """Local ones, those of bypass mode, global ones, the scheduler's own."""
    if not program.member_exists("struct rq", "scx"):
        return
    local = program.offset("struct rq", "scx.local_dsq")
    for cpu in program.cpus:
        yield _Place(program.per_cpu(program.address("runqueues"), cpu) + local, cpu)
    root = scx_root(program)
    if root is not None and program.member_exists("struct scx_sched_pcpu", "bypass_dsq"):
        pcpu = program.u64(root + program.offset("struct scx_sched", "pcpu"))
        for cpu in program.cpus:
            yield _Place(program.per_cpu(pcpu + program.offset("struct scx_sched_pcpu", "bypass_dsq"), cpu), cpu)
    elif program.member_exists("struct rq", "scx.bypass_dsq"):
        for cpu in program.cpus:
            rq = program.per_cpu(program.address("runqueues"), cpu)
            yield _Place(rq + program.offset("struct rq", "scx.bypass_dsq"), cpu)
    for node, address in enumerate(_global(program, root)):
        yield _Place(address, node=node)
    table = None if root is None else root + program.offset("struct scx_sched", "dsq_hash")
    if table is None and program.has("dsq_hash"):
        table = program.address("dsq_hash")
    if table is not None and program.u64(table + program.offset("struct rhashtable", "tbl")):
        for node in rhashtable(program, table, MAX_DSQS):
            yield _Place(node - program.offset("struct scx_dispatch_q", "hash_node"))


def _global(program: GuestProgram, root: int | None) -> Iterator[int]:
    """One for each node."""
    nodes = min(int(program.variable("nr_node_ids").value_()) if program.has("nr_node_ids") else 1, _MAX_NODES)
    if root is not None and program.member_exists("struct scx_sched", "pnode"):
        array, inner = program.u64(root + program.offset("struct scx_sched", "pnode")), "struct scx_sched_pnode"
        offset = program.offset(inner, "global_dsq")
    elif root is not None and program.member_exists("struct scx_sched", "global_dsqs"):
        array, offset = program.u64(root + program.offset("struct scx_sched", "global_dsqs")), 0
    elif program.has("global_dsqs"):
        array, offset = program.u64(program.address("global_dsqs")), 0
    else:
        return
    for node in range(nodes if array else 0):
        if address := program.u64(array + 8 * node):
            yield address + offset


def _dsq(program: GuestProgram, reader: TaskReader, place: _Place) -> Dsq:
    dsq = program.at("struct scx_dispatch_q", place.address).read_()
    tasks: list[Task] = []
    error: str | None = None
    try:
        tasks.extend(reader.task(each) for each in _queued(program, place.address))
    except Unreadable as err:
        error = str(err)
    number = int(dsq.id)
    name = dsq_name(number, place.cpu, place.node)
    return Dsq(
        id=hex(number), name=name, cpu=place.cpu, node=place.node, nr=int(dsq.nr), tasks=tuple(tasks), error=error
    )


def _queued(program: GuestProgram, dsq: int) -> Iterator[int]:
    head = dsq + program.offset("struct scx_dispatch_q", "list")
    node = program.offset("struct task_struct", "scx.dsq_list.node")
    flags = program.offset("struct scx_dsq_list_node", "flags")
    if program.u64(head):
        for entry in linked_list(program, head, MAX_DSQ_TASKS):
            if not program.bytes_at(entry + flags, 4)[0] & _CURSOR:
                yield entry - node


def dsq_name(number: int, cpu: int | None = None, node: int | None = None) -> str:
    """A DSQ's id as people write it (enum scx_dsq_id_flags). The scheduler's own: in decimal, as it was created."""
    of = f" of CPU {cpu}" if cpu is not None else f" of node {node}" if node is not None else ""
    if not number & BUILTIN:
        return f"DSQ {number}"
    if number & LOCAL_ON:
        return f"LOCAL of CPU {number & CPU_MASK}"
    return _BUILTIN_NAMES.get(number, f"BUILTIN {number & ~BUILTIN:#x}") + of
