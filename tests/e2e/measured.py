"""What workers measured of themselves, beside what the kernel's own events say of the same run.

The observer is ``observer.c``: it reads the guest's trace (tracefs) and shares nothing with the agent. One guest runs
one phase after the other, each traced from before its release until its workers have ended.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.checks.formulas import MS, NS
from ktstr.config.topology import Topology
from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    Delay,
    Hold,
    Op,
    Payload,
    Program,
    Release,
    Run,
    Spawn,
    StopWorkers,
    Wait,
    Work,
    Write,
)
from ktstr.vm import agent
from ktstr.vm.guest_image import scheduler_part
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import memory_mib
from tests.vm.test_qemu import Lab, guest

HERE = Path(__file__).parent
TRACING = "/sys/kernel/tracing"
EVENTS = (
    "sched/sched_waking",
    "sched/sched_wakeup",
    "sched/sched_wakeup_new",
    "sched/sched_switch",
    "sched/sched_migrate_task",
    "sched/sched_process_exit",
    "signal/signal_generate",
    "timer/hrtimer_start",
)
_SETTLE_NS = 100 * MS  # until workers that were spawned are blocked at their gates
_DEADLINE_NS = 60 * NS
_REPORT_NS = 30 * NS


@dataclass(frozen=True)
class Phase:
    """Works that run together, from one release to their end. ``ops`` stand between both."""

    name: str
    works: tuple[Work, ...]
    ops: tuple[Op, ...] = (Hold(100 * MS),)


@dataclass(frozen=True)
class Seen:
    """What the observer says of one task; times in us. See ``observer.c``.

    ``moves``: how often it was switched in on another CPU than before. ``sure_moves``: those of them between two CPUs
    on each of which it ran long enough to have looked.
    """

    tid: int
    window: int
    on_cpu: int
    longest_wait: int
    switches: int
    blocks: int
    moves: int
    sure_moves: int
    migrate_events: int
    latencies: tuple[int, ...]
    from_wakeup: tuple[int, ...]

    @property
    def off_cpu_pct(self) -> float:
        return 100 * (1 - self.on_cpu / self.window)


@dataclass(frozen=True)
class Row:
    """One worker: its report, and what was seen of it."""

    phase: str
    work: Work
    own: WorkerReport
    seen: Seen

    @property
    def latencies_us(self) -> tuple[float, ...]:
        """Sorted, without a wait that its end cut short: that one had no wakeup."""
        samples = self.own.wake_latencies_ns[:-1] if self.own.open_wait_ns else self.own.wake_latencies_ns
        return tuple(ns / 1000 for ns in sorted(samples))


def boot(lab: Lab, folder: Path, topology: Topology, payloads: Iterable[str], program: Program) -> GuestRecord:
    """Run a program under counted instructions in a guest that also holds these C programs, in /sched/bin."""
    parts = [lab.image]
    for name in payloads:
        binary, part = folder / name, folder / f"{name}.cpio"
        command = [agent.compiler(os.environ), *agent.FLAGS, str(HERE / f"{name}.c"), "-o", str(binary)]
        subprocess.run(command, check=True)
        part.write_bytes(scheduler_part(binary))
        parts.append(part)
    spec = GuestSpec(lab.kernel, tuple(parts), topology, memory_mib(topology), program=encode(program))
    with lab.start(folder, spec, "icount") as running:
        result = running.wait()
    assert result.end.reason == "clean", result.end
    record = guest(result)
    assert record.errors == ()
    return record


def observe(lab: Lab, folder: Path, topology: Topology, phases: Sequence[Phase], look_us: int) -> list[Row]:
    """Run the phases; a row for each worker that began its work, in the order of its phase."""
    works = tuple(work for phase in phases for work in phase.works)
    observer = Payload(("/sched/bin/observer", str(look_us)))
    record = boot(lab, folder, topology, ["observer"], Program(0, _DEADLINE_NS, (), works, (observer,), _ops(phases)))
    seen = _seen(record)
    names = [phase.name for phase in phases for _ in phase.works]
    return [
        Row(names[own.work_index], works[own.work_index], own, seen[own.tid])
        for own in record.workers
        if own.wall_time_ns
    ]


def _write(file: str, text: str) -> Write:
    return Write(f"{TRACING}/{file}", text)


def _ops(phases: Sequence[Phase]) -> tuple[Op, ...]:
    ops: list[Op] = [_write("tracing_on", "0"), _write("trace_clock", "mono"), _write("buffer_size_kb", "4096")]
    ops += [_write(f"events/{event}/enable", "1") for event in EVENTS]
    first = 0
    for phase in phases:
        ops += [Spawn(first + place) for place in range(len(phase.works))]
        ops += [Delay(_SETTLE_NS), _write("tracing_on", "1"), Release(), *phase.ops, StopWorkers()]
        ops += [_write("tracing_on", "0")]
        first += len(phase.works)
    return (*ops, Run(0), Wait(0, _REPORT_NS))


def _seen(record: GuestRecord) -> dict[int, Seen]:
    assert record.payload_logs is not None
    (log,) = record.payload_logs
    head, *tasks = [json.loads(line) for line in log.text.splitlines()]
    assert head["events"] == head["kept"] == head["written"] > 0, head
    times = ("latencies", "from_wakeup")
    return {task["tid"]: Seen(**task | {name: tuple(sorted(task[name])) for name in times}) for task in tasks}
