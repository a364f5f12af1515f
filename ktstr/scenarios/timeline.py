"""A compiled test as a timeline: at which guest time which op does what, in names instead of numbers.

Times are those that holds and delays add up to, from the begin of the program; what an op itself takes is not in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ktstr import cpulist
from ktstr.scenarios.compile import Compiled
from ktstr.scenarios.program import (
    OWN_CGROUP,
    AddCgroup,
    Cgroup,
    Checkpoint,
    ClearCpus,
    Delay,
    Hold,
    Kill,
    Move,
    Op,
    Read,
    ReadCgroup,
    Release,
    RemoveCgroups,
    Repeat,
    Run,
    Scope,
    Selector,
    SetAffinity,
    SetCpus,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Wait,
    Work,
    Write,
    WriteCgroup,
)

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))


@dataclass(frozen=True)
class Entry:
    """One op. ``op``: its place among all; ``depth``: how many blocks are around it; ``phase``: the number of the one
    that it is in, None for none; ``check``: what reads it, empty for nothing but the record."""

    op: int
    at_ns: int
    depth: int
    kind: str
    what: str
    phase: int | None = None
    check: str = ""


def timeline(compiled: Compiled) -> tuple[Entry, ...]:
    """The program's ops in order; those of a Repeat in their first pass."""
    return tuple(_Teller(compiled).block(compiled.program.ops, 0))


def duration(ns: int) -> str:
    """A length of time in the largest unit that it is a short number of: ``1.5s``, ``20ms``."""
    for size, unit in _UNITS:
        if ns >= size and (ns * 1000) % size == 0:
            return f"{ns / size:.10g}{unit}"
    return f"{ns}ns" if ns else "0s"


class _Teller:
    def __init__(self, compiled: Compiled) -> None:
        self._compiled, self._program = compiled, compiled.program
        self._now = 0
        self._count = 0

    def block(self, ops: tuple[Op, ...], depth: int) -> Iterator[Entry]:
        for op in ops:
            place, self._count = self._count, self._count + 1
            check = self._check(place)
            yield Entry(place, self._now, depth, type(op).__name__, self._what(op), self._phase(place), check)
            if isinstance(op, (Hold, Delay)):
                self._now += op.duration_ns
            elif isinstance(op, Scope):
                yield from self.block(op.body, depth + 1)
            elif isinstance(op, Repeat):
                begun = self._now
                yield from self.block(op.body, depth + 1)
                self._now = begun + op.duration_ns if op.duration_ns else self._now

    def _phase(self, place: int) -> int | None:
        inside = [phase.index for phase in self._compiled.phases if phase.begin_op <= place <= phase.end_op]
        return inside[0] if inside else None

    def _check(self, place: int) -> str:
        """What is made of a read or a checkpoint."""
        for span in self._compiled.spans:
            if place in (span.begin_op, span.end_op):
                return f"share of {span.cgroup}, {'begin' if place == span.begin_op else 'end'}"
        setting = self._compiled.settings.get(place)
        return "" if setting is None else f"has to read {setting.value}"

    def _what(self, op: Op) -> str:
        match op:
            case StartScheduler():
                return f"start {' '.join(self._program.payloads[op.payload].argv)}"
            case StopScheduler():
                return "stop the scheduler"
            case AddCgroup():
                return f"make cgroup {self._cgroup(op.cgroup)}{_made(self._program.cgroups[op.cgroup])}"
            case Spawn():
                return f"spawn {self._work(op.work)}"
            case Release():
                return f"release {self._who(op.who)}"
            case Hold():
                return f"hold {duration(op.duration_ns)}"
            case Delay():
                return f"delay {duration(op.duration_ns)} (seed {self._program.seed})"
            case StopWorkers():
                return f"stop {self._who(op.who)}, who report"
            case RemoveCgroups():
                return "remove all cgroups" if op.who.cgroup is None else f"remove {self._cgroup(op.who.cgroup)}"
            case Scope():
                return f"step {self._label(self._count - 1)}" if op.step else "block"
            case Repeat():
                every = f" every {duration(op.interval_ns)}" if op.interval_ns else ""
                return f"again and again{every}, for {duration(op.duration_ns)}"
        return self._what_else(op)

    def _what_else(self, op: Op) -> str:
        match op:
            case Checkpoint():
                return f"checkpoint: what workers did in phase {op.phase}"
            case Write():
                return f"write {op.text} to {op.path}" + (", until the block ends" if op.restore else "")
            case Read():
                return f"read {op.path}"
            case Run():
                return f"run {self._payload(op.payload)}"
            case Wait():
                return f"wait for {self._payload(op.payload)}, at most {duration(op.timeout_ns)}"
            case Kill():
                return f"kill {self._payload(op.payload)}"
            case Move():
                return f"move {self._who(op.who)} to {self._cgroup(op.cgroup)}"
            case SetCpus():
                return f"cpuset of {self._cgroup(op.cgroup)}: CPUs {cpulist.render(op.cpus)}"
            case SetAffinity():
                return f"pin {self._who(op.who)} to CPUs {cpulist.render(op.cpus)}"
            case ClearCpus():
                return f"cpuset of {self._cgroup(op.cgroup)}: that of its parent"
            case WriteCgroup():
                return f"{self._cgroup(op.cgroup)}: {op.file} = {op.text}"
            case ReadCgroup():
                return f"read {op.file} of {self._cgroup(op.cgroup)}"
        raise TypeError(f"an op that the timeline has no words for: {op}")

    def _cgroup(self, cgroup: int) -> str:
        return "the agent's own" if cgroup == OWN_CGROUP else self._program.cgroups[cgroup].name

    def _work(self, index: int) -> str:
        work = self._program.works[index]
        return f"{len(work.workers)} {work.type} in {self._cgroup(work.cgroup)}{_scheduling(work)}{_pins(work)}"

    def _who(self, who: Selector) -> str:
        if who.work is not None:
            work = self._program.works[who.work]
            whose = f"{work.type} of {self._cgroup(work.cgroup)}"
            return f"worker {who.first_worker} of {whose}" if who.workers else f"the {len(work.workers)} {whose}"
        if who.cgroup is not None:
            return f"the workers in {self._cgroup(who.cgroup)}"
        return {"any": "all workers", "backdrop": "the backdrop's workers", "step": "the step's workers"}[who.scope]

    def _payload(self, index: int) -> str:
        payload = self._program.payloads[index]
        name = self._compiled.payload_names[index] or payload.argv[0]
        where = "" if payload.cgroup == OWN_CGROUP else f" in {self._cgroup(payload.cgroup)}"
        pinned = "" if payload.affinity is None else f", CPUs {cpulist.render(payload.affinity)}"
        return f"{' '.join((name, *payload.argv[1:]))}{where}{pinned}"

    def _label(self, place: int) -> str:
        return next((phase.label for phase in self._compiled.phases if phase.begin_op == place), "")


def _made(cgroup: Cgroup) -> str:
    cpus = "" if cgroup.cpus is None else f", CPUs {cpulist.render(cgroup.cpus)}"
    return cpus + ("" if cgroup.mems is None else f", nodes {cpulist.render(cgroup.mems)}")


def _scheduling(work: Work) -> str:
    words: list[str] = [] if work.policy == "normal" else [work.policy]
    words += [f"priority {work.priority}"] if work.priority else []
    words += [f"nice {work.nice}"] if work.nice else []
    if work.deadline is not None:
        given = work.deadline
        words.append("/".join(map(duration, (given.runtime_ns, given.deadline_ns, given.period_ns))))
    if work.mem_policy is not None:
        nodes = work.mem_policy.nodes
        words.append(work.mem_policy.mode + ("" if nodes is None else f" {cpulist.render(nodes)}"))
    return f" ({', '.join(words)})" if words else ""


def _pins(work: Work) -> str:
    if work.affinity is not None:
        return f", pinned to CPUs {cpulist.render(work.affinity)}"
    each = [cpulist.render(worker.affinity) for worker in work.workers if worker.affinity is not None]
    return f", pinned to CPUs {' | '.join(each)}" if each else ""
