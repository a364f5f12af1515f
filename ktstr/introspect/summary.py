"""A guest in a screenful of text: what runs, what sched_ext does, who waits longest, and the last words of its log."""

from __future__ import annotations

from collections.abc import Iterator

from ktstr.columns import printable
from ktstr.introspect.bpf import read_programs
from ktstr.introspect.dmesg import read_dmesg
from ktstr.introspect.program import GuestProgram, Unreadable
from ktstr.introspect.runqueues import read_runqueues
from ktstr.introspect.scx import read_dsqs, read_state
from ktstr.introspect.tasks import read_tasks
from ktstr.record.kernel import ScxState, Task, Tasks

_TASKS, _LINES, _CPUS = 10, 10, 32


def summary(program: GuestProgram, hz: int | None) -> str:
    """Text that ends in a newline; whatever the guest's memory says, it is short and harmless to print."""
    return "\n".join(printable(line) for line in _lines(program, hz)) + "\n"


def _lines(program: GuestProgram, hz: int | None) -> Iterator[str]:
    tasks = read_tasks(program, hz)
    yield f"kernel {program.kernel.release}, {len(tasks.tasks)} tasks" + _fault(tasks.error)
    yield from _scx(read_state(program, hz))
    yield from _runqueues(program, hz)
    yield from _dsqs(program, hz)
    yield from _waiting(tasks)
    for each in (programs := read_programs(program)).programs:
        yield f"BPF {each.name}: {each.verified_insns} instructions verified, ran {each.run_cnt} times"
    if programs.error:
        yield f"BPF programs: {programs.error}"
    log = read_dmesg(program, _LINES)
    yield from (f"[{line.at_ns / 1e9:12.6f}] {line.text.splitlines()[0] if line.text else ''}" for line in log.lines)
    if log.error:
        yield f"log: {log.error}"


def _fault(error: str | None) -> str:
    return f" (and then: {error})" if error else ""


def _scx(state: ScxState) -> Iterator[str]:
    yield f"sched_ext {state.state or 'not known'}: {state.ops or 'no scheduler'}" + _fault(state.error)
    if state.exit is not None and state.exit.reason:
        yield f"  {state.exit.kind}: {state.exit.reason}: {state.exit.msg or ''}"


def _runqueues(program: GuestProgram, hz: int | None) -> Iterator[str]:
    try:
        rows = read_runqueues(program, hz, runnable=False)
    except Unreadable as err:
        yield f"runqueues: {err}"
        return
    for row in rows[:_CPUS]:
        who = "?" if row.curr is None else f"{row.curr.comm}[{row.curr.pid}]"
        yield f"CPU {row.cpu:<3} {row.nr_running} runnable, runs {who}" + _fault(row.error)
    if len(rows) > _CPUS:
        yield f"... and {len(rows) - _CPUS} CPUs more"


def _dsqs(program: GuestProgram, hz: int | None) -> Iterator[str]:
    found = read_dsqs(program, hz)
    for each in found.dsqs:
        if each.nr or each.tasks:
            waiting = " ".join(str(task.pid) for task in each.tasks[:_TASKS])
            yield f"{each.name}: {each.nr} task(s): {waiting}" + _fault(each.error)
    if found.error:
        yield f"dispatch queues: {found.error}"


def _waiting(tasks: Tasks) -> Iterator[str]:
    def wait(task: Task) -> float:
        return task.waiting_ms or 0

    for task in sorted(filter(wait, tasks.tasks), key=wait, reverse=True)[:_TASKS]:
        yield f"{task.comm}[{task.pid}] waits for {wait(task):.0f} ms on CPU {task.cpu}, DSQ {task.dsq or 'none'}"
