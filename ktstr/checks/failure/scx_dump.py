"""What sched_ext prints of the machine's state as it gives up on a scheduler, as values.

The text is that of scx_dump_state (kernel/sched/ext.c of 6.12, kernel/sched/ext/ext.c of 7.2), from the tracepoint, or
from the log of a loader that prints it. Lines that are none of it, such as those of ops.dump(), are passed over. A
task's name may hold anything, and the text may be cut: whatever does not parse is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ktstr import cpulist
from ktstr.checks import quote
from ktstr.checks.dsq import OWNERS, dsq_name, in_no_dsq, local_cpu
from ktstr.record.dump import CpuState, CurrentTask, Dsq, ExitInfo, ExitKind, Snapshot, WaitingTask

PREFIX = "sched_ext_dump: "
MAX_TASKS = 4096
_MAX_CPUS = 512
KINDS: Mapping[int, ExitKind] = {
    64: "unreg", 65: "unreg_bpf", 66: "unreg_kern", 67: "sysrq", 68: "parent", 1024: "error", 1025: "error_bpf",
    1026: "error_stall",
}  # fmt: skip
_EXIT = re.compile(r"^(.{1,64})\[(\d{1,10})\] triggered exit kind (\d{1,9})(?: on CPU (\d{1,5}))?:$")
_OPS = re.compile(r"^([A-Za-z0-9_.]{1,127}): (?:root|sub\d+-\d+)\b")
_WHY = re.compile(r"^  ([^(]{1,80}) \((.{0,1024})\)$")
_CPU = re.compile(r"^CPU (\d{1,5}) *: nr_run=(\d{1,9}) flags=(0x[0-9a-f]{1,16})\b")
_CURRENT = re.compile(r"^ {10}curr=(.{0,64})\[(\d{1,10})\] class=(\w{1,64})")
_TASK = re.compile(r"^ ([ *])(\S) (.{0,64})\[(\d{1,10})\] (?:\*?(?:root|sub[0-9-]{1,40}) )?([+-]\d{1,15})ms$")
_OPS_STATE = re.compile(r"\bops_state/qseq=(\d{1,3})/")
_IN_DSQ = re.compile(r"\bdsq_id=(0x[0-9a-f]{1,16}|\(n/a\))")
_VTIME = re.compile(r"\bdsq_vtime=(\d{1,20})\b")
_SLICE = re.compile(r"\bslice=(\d{1,20}) weight=(\d{1,9})\b")
_ALLOWED = re.compile(r"^ {6}cpus=([0-9a-f,]{1,200})(?: |$)")
_FRAME = re.compile(r"^ {2,4}([A-Za-z_][\w.]{0,200}\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[[\w-]{1,64}\])?)$")
_EVENT = re.compile(r"^ *SCX_EV_(\w{1,64}): +(-?\d{1,19})$")


@dataclass(frozen=True)
class ScxDump:
    """``ops``: the scheduler's name, where the kernel says it; ``exit``: None in a dump that was asked for by hand."""

    ops: str | None
    exit: ExitInfo | None
    snapshot: Snapshot


def text_lines(text: str) -> list[str]:
    """The lines of a dump, without the tracepoint's name, harmless to print."""
    return [quote.plain(line.removeprefix(PREFIX)).rstrip() for line in text.splitlines()]


def parse_scx_dump(text: str, at_ns: int | None = None) -> ScxDump | None:
    """What a dump says; None for a text that is none. ``at_ns``: when the agent noticed the exit."""
    lines = text_lines(text)
    if "CPU states" not in lines:
        return None
    start = lines.index("CPU states")
    body = _Body()
    for line in lines[start:]:
        body.add(line)
    return ScxDump(_ops(lines[:start]), _exit(lines[:start], at_ns), body.snapshot())


def _ops(lines: Iterable[str]) -> str | None:
    return next((found[1] for line in lines if (found := _OPS.match(line)) is not None), None)


def _exit(lines: list[str], at_ns: int | None) -> ExitInfo | None:
    for at, line in enumerate(lines):
        if (head := _EXIT.match(line)) is None:
            continue
        why = _WHY.match(lines[at + 1]) if at + 1 < len(lines) else None
        trace = (found[1] for line in lines[at:] if (found := _FRAME.match(line)) is not None)
        cpu = None if head[4] is None or int(head[4]) >= _MAX_CPUS else int(head[4])
        return ExitInfo(
            kind=KINDS.get(int(head[3]), "unknown"),
            reason=quote.clean(why[1]) if why else "",
            message=quote.clean(why[2]) if why else "",
            cpu=cpu,
            task=f"{quote.clean(head[1])}[{head[2]}]",
            backtrace=tuple(trace),
            at_ns=at_ns,
        )
    return None


@dataclass
class _Task:
    """A task's lines so far."""

    running: bool
    fields: dict[str, Any]
    stack: list[str] = field(default_factory=list)
    dsq: int | None = None

    def waiting(self) -> WaitingTask:
        owner = self.fields["owner"]
        where = in_no_dsq(owner) if self.dsq is None else dsq_name(self.dsq, self.fields["cpu"])
        dsq = None if self.dsq is None else hex(self.dsq)
        return WaitingTask(**self.fields, dsq=dsq, where=where, stack=tuple(self.stack))


class _Body:
    """The CPUs and tasks of a dump, line by line."""

    def __init__(self) -> None:
        self._cpus: dict[int, dict[str, Any]] = {}
        self._tasks: list[_Task] = []
        self._cpu: dict[str, Any] | None = None
        self._task: _Task | None = None
        self._events: dict[str, int] = {}

    def add(self, line: str) -> None:
        if (cpu := _CPU.match(line)) is not None:
            self._begin_cpu(cpu)
        elif (event := _EVENT.match(line)) is not None:
            self._events[event[1].lower()] = int(event[2])
        elif self._cpu is None:
            return
        elif (current := _CURRENT.match(line)) is not None:
            self._cpu["current"] = (int(current[2]), quote.clean(current[1]), current[3].removesuffix("_sched_class"))
        elif (task := _TASK.match(line)) is not None:
            self._begin_task(task, self._cpu["cpu"])
        elif self._task is not None:
            _add_to(self._task, line)

    def _begin_cpu(self, found: re.Match[str]) -> None:
        number = int(found[1])
        self._task = self._cpu = None
        if number < _MAX_CPUS:
            self._cpu = {"cpu": number, "scx_nr_running": int(found[2]), "scx_flags": found[3], "current": None}
            self._cpus[number] = self._cpu

    def _begin_task(self, found: re.Match[str], cpu: int) -> None:
        blank = dict.fromkeys(("allowed_cpus", "weight", "slice_ns", "vtime", "owner"))
        fields = {
            "pid": int(found[4]), "comm": quote.clean(found[3]), "cpu": cpu, "state": found[2],
            "waited_ms": max(0, -int(found[5])), **blank,
        }  # fmt: skip
        self._task = _Task(found[1] == "*", fields)
        if len(self._tasks) < MAX_TASKS:
            self._tasks.append(self._task)

    def snapshot(self) -> Snapshot:
        """What was seen; CPUs in order, tasks by their wait."""
        stacks = {task.fields["cpu"]: tuple(task.stack) for task in self._tasks if task.running}
        waiting = sorted(
            (task.waiting() for task in self._tasks if not task.running), key=lambda t: (-(t.waited_ms or 0), t.pid)
        )
        reason = "the kernel's dump does not have it"
        return Snapshot(
            source="sched_ext_dump",
            at_ns=None,
            cpus=tuple(_cpu_state(self._cpus[cpu], stacks.get(cpu, ())) for cpu in sorted(self._cpus)),
            waiting=tuple(waiting),
            dsqs=dsqs_of(waiting),
            events=self._events,
            programs=(),
            maps=(),
            registers=(),
            unavailable={"programs": reason, "maps": reason, "registers": reason},
        )


def _add_to(task: _Task, line: str) -> None:
    """One of the lines that follow a task's first."""
    fields = task.fields
    if (state := _OPS_STATE.search(line)) is not None:
        number = int(state[1])
        fields["owner"] = OWNERS[number] if number < len(OWNERS) else None
    if (dsq := _IN_DSQ.search(line)) is not None and dsq[1] != "(n/a)":
        task.dsq = int(dsq[1], 16)
    if (vtime := _VTIME.search(line)) is not None:
        fields["vtime"] = int(vtime[1])
    if (shares := _SLICE.search(line)) is not None:
        fields["slice_ns"], fields["weight"] = int(shares[1]), int(shares[2])
    if (allowed := _ALLOWED.match(line)) is not None:
        fields["allowed_cpus"] = _cpu_list(allowed[1])
    if (frame := _FRAME.match(line)) is not None:
        task.stack.append(frame[1])


def _cpu_list(mask: str) -> str:
    """A CPU list from a mask as the kernel prints it: hex words of 32 bits, highest first."""
    bits = int(mask.replace(",", "") or "0", 16)
    return cpulist.render([cpu for cpu in range(min(bits.bit_length(), _MAX_CPUS)) if bits >> cpu & 1])


def _cpu_state(found: Mapping[str, Any], stack: tuple[str, ...]) -> CpuState:
    current = cast("tuple[int, str, str] | None", found["current"])
    task = (
        None if current is None else CurrentTask(pid=current[0], comm=current[1], sched_class=current[2], stack=stack)
    )
    return CpuState(
        cpu=found["cpu"],
        current=task,
        nr_running=None,
        scx_nr_running=found["scx_nr_running"],
        scx_flags=found["scx_flags"],
        local_dsq_depth=None,
        clock_ns=None,
    )


def dsqs_of(waiting: Iterable[WaitingTask]) -> tuple[Dsq, ...]:
    """The queues that waiting tasks are in. Local queues are told apart by their CPU, which shares no number."""
    found: dict[tuple[str, int | None], list[WaitingTask]] = {}
    for task in waiting:
        if task.dsq is not None:
            found.setdefault((task.dsq, local_cpu(int(task.dsq, 16), task.cpu)), []).append(task)
    return tuple(
        Dsq(id=dsq, name=tasks[0].where, cpu=cpu, depth=len(tasks), pids=tuple(task.pid for task in tasks))
        for (dsq, cpu), tasks in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    )
