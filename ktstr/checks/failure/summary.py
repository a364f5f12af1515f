"""One sentence that says what happened to a scheduler, from the parts of its failure dump."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ktstr import cpulist
from ktstr.checks import quote
from ktstr.checks.dsq import local_cpu
from ktstr.record.dump import CpuState, DumpedMachine, ExitInfo, Snapshot, WaitingTask
from ktstr.record.guest import Refusal, SchedEvent

# check_rq_for_timeouts (kernel/sched/ext/ext.c).
_STALL = re.compile(r"(.{0,64})\[(\d{1,10})\] failed to run for (\d{1,6}\.\d{3})s")
_BPF_FRAME = re.compile(r"\bbpf_prog_[0-9a-f]{16}_(\w+)\+")
_ENDS = {
    "panic": "the guest's kernel panicked",
    "triple_fault": "a CPU of the guest reset itself (triple fault)",
    "virtual_deadline": "the run did not come to its end within its own deadline",
    "host_timeout": "the machine was still running at the host's limit",
}
MAX_CHARACTERS = 600


@dataclass(frozen=True)
class Findings:
    """What a sentence is made of. ``scheduler``: its ops' name, None when it never attached; ``declared``: what the
    test calls it; ``event``: how it was lost, None when it was not; ``cpus``: how many the guest has, 0 when it never
    said."""

    scheduler: str | None
    declared: str
    event: SchedEvent | None
    exit: ExitInfo | None
    machine: DumpedMachine
    snapshot: Snapshot | None
    early: Snapshot | None
    cpus: int
    log: str
    refusal: Refusal | None = None

    @property
    def scene(self) -> Scene:
        return Scene(self.snapshot, self.early, self.exit)


@dataclass(frozen=True)
class Scene:
    """CPUs and tasks at an exit: ``snapshot`` of it, and ``early``, from before."""

    snapshot: Snapshot | None
    early: Snapshot | None
    exit: ExitInfo | None

    def cpu(self, cpu: int) -> CpuState | None:
        """A CPU's state; that of before where all it does now is to tell of the exit."""
        state = _state_of(self.snapshot, cpu)
        if self.exit is None or state is None or state.current is None:
            return state
        if f"{state.current.comm}[{state.current.pid}]" != self.exit.task:
            return state
        return _state_of(self.early, cpu) or state

    def is_idle(self, cpu: int) -> bool:
        """sched_ext's dump leaves out a CPU that is idle and on which nothing waits (scx_dump_cpu)."""
        state = self.cpu(cpu)
        if state is None:
            return self.snapshot is not None and self.snapshot.source == "sched_ext_dump"
        return state.current is not None and state.current.pid == 0

    def doing(self, cpu: int) -> str:
        """What a CPU did, as the end of a sentence."""
        state = self.cpu(cpu)
        if self.is_idle(cpu):
            return "was idle"
        if state is None or state.current is None:
            return "ran what is not known"
        return f"ran {state.current.comm}[{state.current.pid}]"

    @property
    def starving(self) -> WaitingTask | None:
        """The task that the watchdog named, else the one that waited longest."""
        waiting = () if self.snapshot is None else self.snapshot.waiting
        told = None if self.exit is None else _STALL.search(self.exit.message)
        if told is None:
            return waiting[0] if waiting else None
        return next((task for task in waiting if task.pid == int(told[2])), None)


def _state_of(snapshot: Snapshot | None, cpu: int) -> CpuState | None:
    return None if snapshot is None else next((state for state in snapshot.cpus if state.cpu == cpu), None)


def summarize(found: Findings) -> str:
    """The sentence, without its full stop; one line, harmless to print."""
    sentence = quote.plain(" ".join(_sentence(found).split()))
    return sentence if len(sentence) <= MAX_CHARACTERS else sentence[: MAX_CHARACTERS - 1] + "…"


def _sentence(found: Findings) -> str:
    name = found.scheduler or found.declared
    if found.exit is not None and found.exit.kind == "error_stall":
        return f"{name} stalled: {_stalled(found, found.exit)}; the kernel's watchdog evicted it"
    if found.exit is not None and found.exit.kind != "unreg":
        return f"{name} was ended by the kernel: {_aborted(found.exit)}"
    if found.event is not None:
        return _lost(found, found.event, name)
    what = _ENDS.get(found.machine.reason, "the machine ended")
    detail = quote.clean(found.machine.detail)
    return f"{what} while {name} ran{f': {detail}' if detail else ''}{_longest(found)}"


def _stalled(found: Findings, exit_: ExitInfo) -> str:
    """Who waited, how long, where, and what its CPU did."""
    told = _STALL.search(exit_.message)
    task = found.scene.starving
    if task is None:
        if told is None:
            return exit_.message or exit_.reason
        on = "" if exit_.cpu is None else f" on the runqueue of CPU {exit_.cpu}"
        return f"task {quote.clean(told[1])}[{told[2]}] was runnable for {told[3]} s{on} and did not run"
    seconds = told[3] if told is not None and int(told[2]) == task.pid else f"{(task.waited_ms or 0) / 1000:.3f}"
    return _waits(found, task, seconds)


def _waits(found: Findings, task: WaitingTask, seconds: str) -> str:
    assert found.snapshot is not None
    beside = _beside(found.snapshot, task)
    return (
        f"task {task.comm}[{task.pid}] waited {seconds} s and did not run, in {task.where}{beside}, on the runqueue"
        f" of CPU {task.cpu}, which {found.scene.doing(task.cpu)}{_idle_among(found, task)}"
    )


def advice(scene: Scene) -> str | None:
    """Where to look first after a stall, by where the task was and what CPUs did; None where nothing is known."""
    task = scene.starving
    if scene.exit is None or scene.exit.kind != "error_stall" or task is None:
        return None
    if task.owner == "bpf_scheduler" and task.dsq is None:
        return "ops.enqueue took the task and nothing dispatched it: look at its own queues and ops.dispatch"
    if task.dsq is None:
        return None
    busy = not scene.is_idle(task.cpu)
    if local_cpu(int(task.dsq, 16), task.cpu) is not None:
        running = "ran another task all the while: look at slices and at who preempts" if busy else "did not take it"
        return f"the task was on the queue of its own CPU, which {running}"
    if busy:
        return f"no CPU took the task from {task.where}: look at the order in which ops.dispatch takes from it"
    return f"no CPU took the task from {task.where}, and its own was idle: look at ops.dispatch, and at who kicks CPUs"


def _beside(snapshot: Snapshot, task: WaitingTask) -> str:
    others = sum(other.where == task.where and other.pid != task.pid for other in snapshot.waiting)
    return "" if not others or task.dsq is None else f" with {others} other task{'' if others == 1 else 's'}"


def _idle_among(found: Findings, task: WaitingTask) -> str:
    """The other CPUs that the task may use and that were idle."""
    if found.snapshot is None or task.allowed_cpus is None or not found.cpus:
        return ""
    try:
        allowed = cpulist.parse(task.allowed_cpus)
    except ValueError:
        return ""
    others = [cpu for cpu in allowed if cpu < found.cpus and cpu != task.cpu]
    idle = [cpu for cpu in others if found.scene.is_idle(cpu)]
    if not idle:
        return ""
    too = " too" if found.scene.is_idle(task.cpu) else ""
    return f" (idle{too}, of CPUs {task.allowed_cpus} that it may use: {cpulist.render(idle)})"


def _aborted(exit_: ExitInfo) -> str:
    """The kernel's reason, the message of the program or of the kernel, and where it was."""
    program = bpf_program(exit_.backtrace)
    where = f", in the BPF program {program}" if program else ""
    on = "" if exit_.cpu is None else f" on CPU {exit_.cpu}"
    message = f": {exit_.message}" if exit_.message else ""
    return f"{exit_.reason or exit_.kind}{message}{where}{on}"


def bpf_program(frames: tuple[str, ...]) -> str | None:
    """The innermost BPF program of a stack."""
    for frame in frames:
        if (found := _BPF_FRAME.search(frame)) is not None:
            return found[1]
    return None


def _lost(found: Findings, event: SchedEvent, name: str) -> str:
    words = quote.telling_words(found.log) if found.scheduler is None else quote.last_words(found.log)
    words = f"; its words: {words}" if words else "; it said nothing"
    if found.scheduler is None and found.refusal is not None and found.refusal.outcome == "refused":
        words = f"; {quote.refusal(found.refusal, 1)}"
    text = quote.clean(event.text)
    at = f" {event.at_ns / 1e6:.3f} ms into the run"
    if event.kind in ("exited", "signaled"):
        how = f"with exit status {event.code}" if event.kind == "exited" else f"of signal {event.code} ({text or '?'})"
        when = "before it attached" if found.scheduler is None else f"while it was attached,{at}"
        return f"{name}'s process ended {when}, {how}{words}{_longest(found)}"
    if event.kind == "evicted":
        return f"the kernel let go of {name}{at}: {text or 'it gave no reason'}{words}"
    if event.kind == "spawn_failed":
        return f"{name} could not be started: {text or f'error {event.code}'}"
    if event.kind == "attach_timeout":
        return f"{name} did not attach in time ({text}){words}"
    return f"{name} did not detach: {text or f'error {event.code}'}{words}"


def _longest(found: Findings) -> str:
    """The longest wait that memory showed, of half a second or more."""
    if found.snapshot is None or not found.snapshot.waiting:
        return ""
    task = found.snapshot.waiting[0]
    if (task.waited_ms or 0) < 500:
        return ""
    return f"; meanwhile {_waits(found, task, f'{(task.waited_ms or 0) / 1000:.3f}')}"
