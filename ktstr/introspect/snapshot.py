"""A guest's schedulers and tasks at one moment, read from outside, as a failure dump has them.

Whatever cannot be read is left out, and the snapshot says why. Nothing is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr import cpulist
from ktstr.checks.dsq import OWNERS, dsq_name, in_no_dsq
from ktstr.introspect.bpf import read_programs
from ktstr.introspect.maps import map_facts, read_map
from ktstr.introspect.program import GuestProgram, Unreadable, reading
from ktstr.introspect.runqueues import read_runqueues
from ktstr.introspect.scx import read_dsqs, read_events
from ktstr.introspect.stacks import NO_BPF, BpfSymbols, read_bpf_symbols, read_running, read_stack
from ktstr.record.dump import CpuState, CurrentTask, Dsq, Owner, Part, Snapshot, WaitingTask
from ktstr.record.kernel import BpfMap, BpfProgram, Runqueue, Stack, Task
from ktstr.record.numbers import MAX_CPU
from ktstr.vm.machine import Registers

MAX_ENTRIES = 16  # of a map
MAX_STACKS = 64  # of waiting tasks, those that waited longest
MAX_WAITING = 4096
MAX_PIDS = 64  # of a queue


@dataclass(frozen=True)
class Moment:
    """When it is: guest time, and the registers of each vCPU, or why there are none."""

    at_ns: int | None
    registers: tuple[Registers, ...] = ()
    no_registers: str = ""


def scheduler_programs(programs: Iterable[BpfProgram]) -> tuple[BpfProgram, ...]:
    """Those of the sched_ext scheduler: its callbacks, and what shares maps with them."""
    every = tuple(programs)
    maps = {number for program in every if program.type == "STRUCT_OPS" for number in program.map_ids}
    return tuple(program for program in every if program.type == "STRUCT_OPS" or maps.intersection(program.map_ids))


def read_snapshot(program: GuestProgram, hz: int | None, moment: Moment) -> Snapshot:
    """All of it. ``hz``: the kernel's ticks a second."""
    missing: dict[Part, str] = {}
    bpf = _bpf_symbols(program, missing)
    queues = read_runqueues(program, hz)
    running = {stack.cpu: stack for stack in read_running(program, moment.registers, bpf)}
    if moment.no_registers:
        missing["registers"] = missing["stacks"] = moment.no_registers
    for queue in queues:
        if queue.error is not None:
            missing["cpus"] = queue.error
    loaded = read_programs(program)
    if loaded.error is not None:
        missing["programs"] = loaded.error
    programs = scheduler_programs(loaded.programs)
    return Snapshot(
        source="guest_memory",
        at_ns=moment.at_ns,
        cpus=tuple(_cpu(queue, running.get(queue.cpu)) for queue in queues if queue.cpu <= MAX_CPU),
        waiting=_waiting(program, queues, bpf),
        dsqs=_dsqs(program, hz, missing),
        events=_events(program),
        programs=programs,
        maps=_maps(program, programs, missing),
        registers=tuple({name: hex(value) for name, value in sorted(each.items())} for each in moment.registers),
        unavailable=missing,
    )


def _bpf_symbols(program: GuestProgram, missing: dict[Part, str]) -> BpfSymbols:
    try:
        with reading("names of BPF programs"):
            return read_bpf_symbols(program)
    except Unreadable as err:
        missing["stacks"] = str(err)
        return NO_BPF


def _frames(stack: Stack) -> tuple[str, ...]:
    return tuple(frame.name or frame.pc for frame in stack.frames)


def _cpu(queue: Runqueue, stack: Stack | None) -> CpuState:
    current = None
    if queue.curr is not None:
        frames = () if stack is None else ("(in user space)",) if stack.user_mode else _frames(stack)
        current = CurrentTask(
            pid=max(0, queue.curr.pid), comm=queue.curr.comm, sched_class="idle" if queue.curr.pid == 0 else None,
            stack=frames,
        )  # fmt: skip
    return CpuState(
        cpu=queue.cpu,
        current=current,
        nr_running=queue.nr_running,
        scx_nr_running=None if queue.scx is None else queue.scx.nr_running,
        scx_flags=None if queue.scx is None else hex(queue.scx.flags),
        local_dsq_depth=None if queue.scx is None else queue.scx.local_dsq_nr,
        clock_ns=queue.clock_ns,
    )


def _waiting(program: GuestProgram, queues: Sequence[Runqueue], bpf: BpfSymbols) -> tuple[WaitingTask, ...]:
    found = [
        (queue.cpu, task)
        for queue in queues
        if queue.scx is not None and queue.cpu <= MAX_CPU
        for task in queue.scx.runnable
        if not task.on_cpu and task.pid >= 0
    ]
    found.sort(key=lambda each: (-(each[1].waiting_ms or 0), each[1].pid))
    return tuple(
        _waiting_task(program, cpu, task, bpf if place < MAX_STACKS else None)
        for place, (cpu, task) in enumerate(found[:MAX_WAITING])
    )


def _waiting_task(program: GuestProgram, cpu: int, task: Task, bpf: BpfSymbols | None) -> WaitingTask:
    """``bpf``: None to leave its stack out."""
    owner = _owner(program, task)
    dsq = None if task.dsq is None else int(task.dsq, 16)
    return WaitingTask(
        pid=task.pid,
        comm=task.comm,
        cpu=cpu,
        state=task.state,
        waited_ms=None if task.waiting_ms is None else round(task.waiting_ms),
        dsq=None if dsq is None else hex(dsq),
        where=in_no_dsq(owner) if dsq is None else dsq_name(dsq, cpu),
        allowed_cpus=None if task.allowed is None else cpulist.render(task.allowed),
        weight=_member(program, task, "scx.weight", 4),
        slice_ns=task.slice_ns,
        vtime=task.dsq_vtime,
        owner=owner,
        stack=() if bpf is None else _frames(read_stack(program, int(task.address, 16), bpf)),
    )


def _owner(program: GuestProgram, task: Task) -> Owner | None:
    state = _member(program, task, "scx.ops_state", 8)
    return None if state is None else OWNERS[state & 3]


def _member(program: GuestProgram, task: Task, member: str, size: int) -> int | None:
    try:
        at = int(task.address, 16) + program.offset("struct task_struct", member)
        return int.from_bytes(program.bytes_at(at, size), "little")
    except Unreadable:
        return None


def _dsqs(program: GuestProgram, hz: int | None, missing: dict[Part, str]) -> tuple[Dsq, ...]:
    """The queues that hold a task."""
    found = read_dsqs(program, hz)
    if found.error is not None:
        missing["dsqs"] = found.error
    return tuple(
        Dsq(
            id=hex(int(queue.id, 16)), name=dsq_name(int(queue.id, 16), queue.cpu), cpu=queue.cpu, depth=queue.nr,
            pids=tuple(task.pid for task in queue.tasks[:MAX_PIDS] if task.pid >= 0),
        )
        for queue in found.dsqs
        if queue.nr and (queue.cpu is None or queue.cpu <= MAX_CPU)
    )  # fmt: skip


def _events(program: GuestProgram) -> dict[str, int]:
    sums: dict[str, int] = {}
    for cpu in read_events(program).cpus:
        for name, count in cpu.events.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def _maps(program: GuestProgram, programs: Iterable[BpfProgram], missing: dict[Part, str]) -> tuple[BpfMap, ...]:
    """Those that the scheduler's programs use."""
    used = {number for one in programs for number in one.map_ids}
    found: list[BpfMap] = []
    try:
        with reading("BPF maps"):
            for facts in map_facts(program):
                if facts.id in used:
                    found.append(read_map(program, facts, MAX_ENTRIES))
    except Unreadable as err:
        missing["maps"] = str(err)
    return tuple(found)
