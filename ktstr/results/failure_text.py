"""A failure dump as people read it: what happened in one sentence, then who waited, where, and beside whom.

Text of 100 columns without colour codes; whatever a stranger's name holds is made harmless. The first 20 lines answer
"it stalled, and I have no idea why"; the sections follow in the order in which one asks.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from ktstr.checks import quote
from ktstr.checks.failure.summary import Scene, advice
from ktstr.checks.verifier.cycles import collapse
from ktstr.columns import printable
from ktstr.record.dump import CpuState, FailureDump, Part, Snapshot, Stage, WaitingTask
from ktstr.record.sidecar import Sidecar

WIDTH = 100
CUE = "BUG SUMMARY: "
_TASKS, _FRAMES, _CPUS, _DSQS, _LINES, _PROGRAMS, _ENTRIES, _REFUSED = 8, 6, 16, 8, 20, 24, 4, 10
_STAGES: dict[Stage, str] = {
    "guest_silent": "init never started: the kernel did not come up, or not as far as the agent",
    "guest_ready": "the guest was ready, its scheduler not started",
    "scheduler_started": "the scheduler was started, and had not attached",
    "scheduler_attached": "the scheduler was attached, no workload ran yet",
    "workload_started": "the workload was running",
    "workload_ended": "the workload was over",
}


def cue(dump: FailureDump) -> list[str]:
    """The one sentence, folded."""
    return _folded(f"{CUE}{dump.summary}.", "", "  ")


def render(dump: FailureDump, sidecar: Sidecar | None = None) -> str:
    """The whole view, ending in a newline. ``sidecar``: of the same cell, for its statistics."""
    hint = advice(Scene(dump.late, dump.early, dump.exit))
    lines = cue(dump) if hint is None else [*cue(dump), *_folded(f"hint: {hint}.", "", "  ")]
    lines += [f"cell: {printable(dump.cell)}", f"when: {_STAGES[dump.stage]}"]
    for title, body in _sections(dump, sidecar):
        if body:
            lines += [f"--- {title} ---", *(_cut(line) for line in body)]
    return "\n".join(lines) + "\n"


def _sections(dump: FailureDump, sidecar: Sidecar | None) -> Iterator[tuple[str, Sequence[str]]]:
    yield "what the kernel refused", _refused(dump)
    shown = dump.late or dump.early
    stalled = dump.exit is None or dump.exit.kind == "error_stall"
    if not stalled:
        yield "exit", _exit(dump)
    if shown is not None:
        yield "waiting tasks", _waiting(shown)
        yield "cpus", _cpus(shown)
        yield "dsqs", _dsqs(shown)
    if stalled:
        yield "exit", _exit(dump)
    if dump.early is not None and shown is not dump.early:
        yield "earlier, when a task had waited half of what the watchdog allows", _waiting(dump.early)
    yield "stats", [] if sidecar is None else _stats(sidecar)
    yield "diagnostics", _diagnostics(dump)
    yield "timeline", [] if sidecar is None else _timeline(sidecar)
    yield "scheduler log", _tail(collapse(dump.scheduler_log))
    yield "monitor", [] if sidecar is None else _monitor(sidecar)
    yield "programs", _programs(dump)
    yield "maps", _maps(dump)
    yield "registers", _registers(dump)
    yield "sched_ext dump", [f"  {quote.plain(line)}" for line in dump.sched_ext_dump.splitlines()]
    yield "not available", [f"{part}: {why}" for part, why in _missing(dump).items()]


def _refused(dump: FailureDump) -> list[str]:
    """The end of the log, which has the reason."""
    return [f"  {line}" for line in dump.refusal_log[-_REFUSED:]]


def _missing(dump: FailureDump) -> dict[Part, str]:
    own = {} if dump.late is None else dump.late.unavailable
    if dump.early is not None:
        own = {part: why for part, why in own.items() if part in dump.early.unavailable}
    return {**own, **dump.unavailable}


def _cut(line: str) -> str:
    """One line of at most WIDTH columns, harmless to print."""
    text = printable(line.expandtabs())
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _folded(text: str, indent: str, on: str) -> list[str]:
    return textwrap.wrap(printable(text), WIDTH, initial_indent=indent, subsequent_indent=on) or [indent]


def _more(count: int, shown: int, what: str) -> list[str]:
    return [f"  and {count - shown} more {what}"] if count > shown else []


def _waiting(snapshot: Snapshot) -> list[str]:
    """Who waited, longest first; the stack of the first one alone."""
    lines = []
    for at, task in enumerate(snapshot.waiting[:_TASKS]):
        lines.append(_task(task))
        lines += [f"      {frame}" for frame in task.stack[:_FRAMES] if at == 0]
    return lines + _more(len(snapshot.waiting), _TASKS, "tasks")


def _task(task: WaitingTask) -> str:
    waited = "?" if task.waited_ms is None else f"{task.waited_ms / 1000:.3f} s"
    facts = [f"CPU {task.cpu}", task.where]
    if task.allowed_cpus is not None:
        facts.append(f"may use {task.allowed_cpus}")
    if task.weight is not None:
        facts.append(f"weight {task.weight}")
    return f"  {waited:>10}  {f'{task.comm}[{task.pid}]':<24} {', '.join(facts)}"


def _cpus(snapshot: Snapshot) -> list[str]:
    lines = []
    for state in snapshot.cpus[:_CPUS]:
        lines += [_cpu(state), *(f"      {frame}" for frame in _telling_frames(state))]
    left_out = ["  CPUs that are not here were idle, and nothing waited there"]
    quiet = left_out if snapshot.source == "sched_ext_dump" and snapshot.cpus else []
    return lines + _more(len(snapshot.cpus), _CPUS, "CPUs") + quiet


def _telling_frames(state: CpuState) -> Sequence[str]:
    """Where a CPU was, but for the frames of the dump itself."""
    stack = () if state.current is None else state.current.stack
    own = [at for at, frame in enumerate(stack) if "irq_work" in frame or frame.startswith("scx_dump_")]
    return stack[own[-1] + 1 if own else 0 :][:_FRAMES]


def _cpu(state: CpuState) -> str:
    current = state.current
    runs = "?" if current is None else f"{current.comm}[{current.pid}] ({current.sched_class or 'class not known'})"
    facts = [
        f"{count} {what}"
        for count, what in (
            (state.nr_running, "runnable"),
            (state.scx_nr_running, "of sched_ext"),
            (state.local_dsq_depth, "in its local DSQ"),
        )
        if count is not None
    ]
    return f"  CPU {state.cpu:<4} runs {runs:<34} {', '.join(facts)}"


def _dsqs(snapshot: Snapshot) -> list[str]:
    lines = [
        f"  {queue.name:<28} {queue.depth} waiting: {' '.join(map(str, queue.pids[:_DSQS]))}"
        for queue in snapshot.dsqs[:_DSQS]
    ]
    return lines + _more(len(snapshot.dsqs), _DSQS, "queues")


def _exit(dump: FailureDump) -> list[str]:
    ended = dump.exit
    if ended is None:
        return []
    where = "" if ended.cpu is None else f" on CPU {ended.cpu}"
    by = "" if ended.task is None else f", noticed by {ended.task}"
    lines = [f"  {ended.kind}: {ended.reason}{where}{by}"]
    lines += _folded(ended.message, "  ", "    ") if ended.message else []
    return lines + [f"      {frame}" for frame in ended.backtrace[: 2 * _FRAMES]]


def _stats(sidecar: Sidecar) -> list[str]:
    stats = sidecar.stats
    total = (
        f"  workers={stats.total_workers} cpus={stats.total_cpus} migrations={stats.total_migrations}"
        f" worst_spread={_number(stats.worst_spread)}% worst_gap={_number(stats.worst_gap_ms)}ms"
    )
    return [total, *(_folded(f"{reason.verdict}: {reason.message}", "  ", "    ")[0] for reason in sidecar.reasons)]


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _diagnostics(dump: FailureDump) -> list[str]:
    """How far it came, how the machine ended, and the end of the console; all of it after a panic."""
    machine = dump.machine
    said = f" ({machine.detail})" if machine.detail else ""
    panicked = any("Kernel panic" in line for line in dump.console)
    lines = [f"  stage: {_STAGES[dump.stage]}", f"  machine: {machine.reason}{said}"]
    lines += [f"  kernel: {line}" for line in dump.kernel_log[-_LINES:]]
    return lines + [f"  console: {line}" for line in dump.console[0 if panicked else -_LINES :]]


def _timeline(sidecar: Sidecar) -> list[str]:
    return [f"  {event.elapsed_ms:>7} ms  {event.label}" for event in sidecar.stimulus_events[:_LINES]]


def _monitor(sidecar: Sidecar) -> list[str]:
    monitor = sidecar.monitor
    if monitor is None:
        return []
    return [
        f"  samples={monitor.total_samples} max_imbalance={_number(monitor.max_imbalance_ratio)}"
        f" max_dsq_depth={monitor.max_local_dsq_depth} stuck={monitor.stuck_count}",
        f"  average: imbalance={_number(monitor.avg_imbalance_ratio)} nr_running/cpu={_number(monitor.avg_nr_running)}"
        f" dsq/cpu={_number(monitor.avg_local_dsq_depth)}",
    ]


def _tail(lines: Sequence[str]) -> list[str]:
    left = len(lines) - 2 * _LINES
    return ([f"  [{left} lines before these]"] if left > 0 else []) + [f"  {line}" for line in lines[-2 * _LINES :]]


def _snapshots(dump: FailureDump) -> Iterable[Snapshot]:
    return (snapshot for snapshot in (dump.late, dump.early) if snapshot is not None)


def _programs(dump: FailureDump) -> list[str]:
    programs = next((snapshot.programs for snapshot in _snapshots(dump) if snapshot.programs), ())
    if not programs:
        return [f"  {row.name:<40} verified_insns={row.verified_insns}" for row in dump.verifier_stats[:_PROGRAMS]]
    return [
        f"  {program.name:<32} {program.type:<12} verified_insns={program.verified_insns}"
        + (f" runs={program.run_cnt} ns={program.run_time_ns}" if program.run_cnt else "")
        for program in programs[:_PROGRAMS]
    ] + _more(len(programs), _PROGRAMS, "programs")


def _maps(dump: FailureDump) -> list[str]:
    maps = next((snapshot.maps for snapshot in _snapshots(dump) if snapshot.maps), ())
    lines = []
    for one in maps[:_PROGRAMS]:
        lines.append(f"  {one.name:<20} {one.type:<16} {one.max_entries} entries at most")
        lines += [f"      {_value(entry.key)}: {_value(entry.value)}" for entry in (one.entries or ())[:_ENTRIES]]
    return lines


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _registers(dump: FailureDump) -> list[str]:
    each = next((snapshot.registers for snapshot in _snapshots(dump) if snapshot.registers), ())
    wanted = ("rip", "rsp", "rflags", "cr3")
    return [
        f"  vCPU {cpu:<3} {' '.join(f'{name}={values[name]}' for name in wanted if name in values)}"
        for cpu, values in enumerate(each[:_CPUS])
    ]
