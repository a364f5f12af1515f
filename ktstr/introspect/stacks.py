"""Kernel stacks: of tasks that sleep, by what they saved; of those that run, by their vCPU's registers.

drgn unwinds by the ORC tables in guest memory (``GuestProgram`` tells it where they hold), and where there are none, as
of BPF programs, by frame pointers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drgn import Object, StackTrace

from ktstr.introspect.program import GuestProgram, Unreadable, reading
from ktstr.introspect.tasks import task_ref
from ktstr.introspect.walk import linked_list
from ktstr.record.kernel import Frame, Stack, TaskRef
from ktstr.vm.machine import Registers

MAX_FRAMES = 128
MAX_KSYMS = 65536
_MAX_NAME = 256
_USER_TOP = 1 << 47
_PT_REGS = {"ip": "rip", "sp": "rsp"} | {
    name: f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp")
} | {f"r{number}": f"r{number}" for number in range(8, 16)}  # fmt: skip


@dataclass(frozen=True)
class BpfSymbols:
    """Where the code of BPF programs is: starts in order, with ends and names."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    names: tuple[str, ...]

    def name_at(self, address: int) -> str | None:
        index = bisect_right(self.starts, address) - 1
        if index < 0 or address >= self.ends[index]:
            return None
        return f"{self.names[index]}+{address - self.starts[index]:#x}"


NO_BPF = BpfSymbols((), (), ())


def read_bpf_symbols(program: GuestProgram) -> BpfSymbols:
    """What the kernel's own list of them says (``bpf_kallsyms`` of kernel/bpf/core.c). Raises Unreadable."""
    if not program.has("bpf_kallsyms"):
        return NO_BPF
    rows = []
    node = program.offset("struct bpf_ksym", "lnode")
    start, end = program.offset("struct bpf_ksym", "start"), program.offset("struct bpf_ksym", "end")
    name = program.offset("struct bpf_ksym", "name")
    for entry in linked_list(program, program.address("bpf_kallsyms"), MAX_KSYMS):
        ksym = entry - node
        rows.append((program.u64(ksym + start), program.u64(ksym + end), program.text_at(ksym + name, _MAX_NAME)))
    rows.sort()
    return BpfSymbols(tuple(row[0] for row in rows), tuple(row[1] for row in rows), tuple(row[2] for row in rows))


def frame(program: GuestProgram, pc: int, bpf: BpfSymbols = NO_BPF) -> Frame:
    """One address of code as the kernel prints it. Raises nothing."""
    return Frame(pc=hex(pc), name=_name(program, pc, bpf))


def _name(program: GuestProgram, pc: int, bpf: BpfSymbols) -> str | None:
    if program.address("_text") <= pc < program.address("_end"):
        symbols, linked = program.kernel.symbols, pc - program.bias
        index = symbols.index_at(linked)
        return None if index is None else f"{symbols.name(index)}+{linked - symbols.addresses[index]:#x}"[:_MAX_NAME]
    return bpf.name_at(pc)


def read_stack(program: GuestProgram, task: int, bpf: BpfSymbols = NO_BPF) -> Stack:
    """The kernel stack of the task at an address, which does not run. Raises nothing."""
    try:
        who = task_ref(program, task)
    except Unreadable as err:
        return Stack(pid=-1, comm="", error=str(err))
    try:
        with reading(f"stack of {who.comm} ({who.pid})"):
            trace = program.prog.stack_trace(program.at("struct task_struct", task).address_of_())
            return Stack(pid=who.pid, comm=who.comm, frames=_frames(program, trace, bpf))
    except Unreadable as err:
        return Stack(pid=who.pid, comm=who.comm, error=str(err))


def read_running(program: GuestProgram, registers: Sequence[Registers], bpf: BpfSymbols = NO_BPF) -> tuple[Stack, ...]:
    """What each vCPU runs, by its registers, in order of CPUs. Raises nothing."""
    return tuple(_running(program, cpu, each, bpf) for cpu, each in enumerate(registers))


def _running(program: GuestProgram, cpu: int, registers: Registers, bpf: BpfSymbols) -> Stack:
    who = TaskRef(pid=-1, comm="")
    try:
        rq = program.per_cpu(program.address("runqueues"), cpu)
        who = task_ref(program, program.u64(rq + program.offset("struct rq", "curr")))
        if "r15" not in registers:
            raise Unreadable(f"CPU {cpu} is not in 64-bit mode")
        if registers["rip"] < _USER_TOP:
            user = (Frame(pc=hex(registers["rip"])),)
            return Stack(pid=who.pid, comm=who.comm, cpu=cpu, running=True, user_mode=True, frames=user)
        with reading(f"stack on CPU {cpu}"):
            trace = program.prog.stack_trace(_pt_regs(program, registers))
            frames = _frames(program, trace, bpf)
            return Stack(pid=who.pid, comm=who.comm, cpu=cpu, running=True, frames=frames)
    except Unreadable as err:
        return Stack(pid=who.pid, comm=who.comm, cpu=cpu, running=True, error=str(err))


def _pt_regs(program: GuestProgram, registers: Mapping[str, int]) -> Object:
    values = {name: registers[ours] for name, ours in _PT_REGS.items()}
    return Object(program.prog, program.type("struct pt_regs"), values)


def _frames(program: GuestProgram, trace: StackTrace, bpf: BpfSymbols) -> tuple[Frame, ...]:
    frames = []
    for index in range(min(len(trace), MAX_FRAMES)):
        try:
            frames.append(frame(program, trace[index].pc, bpf))
        except LookupError:
            frames.append(Frame(pc="0x0"))
    return tuple(frames)
