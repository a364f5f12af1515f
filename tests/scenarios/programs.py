"""Programs for tests: an independent reader of their bytes, and random valid ones.

The reader is made from the description of the layout alone: nothing here is read from the headers or the tables.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from zlib import crc32

from hypothesis import strategies as st

from ktstr.record.vocabulary import WORK_TYPES, WorkParam
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Checkpoint,
    ClearCpus,
    Deadline,
    Delay,
    Hold,
    Kill,
    MemPolicy,
    Move,
    Op,
    Payload,
    Program,
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
    Worker,
    Write,
    WriteCgroup,
)

T = TypeVar("T")
HEAD = struct.Struct("<4sHHIIQQ7II")
WORK = struct.Struct("<IiII16QIiiI3Q6I")
WORKER = struct.Struct("<QII")
PAYLOAD = struct.Struct("<IIiIIIIIii")
OP = struct.Struct("<HBBIIiiIIIIIIIQQQ")
TYPES = {facts.number: name for name, facts in WORK_TYPES.items()}
POLICIES = ("normal", "batch", "idle", "fifo", "rr", "deadline", "ext")
MEM_POLICIES = (
    "default", "preferred", "bind", "interleave", "local", "preferred_many", "weighted_interleave",
)  # fmt: skip
CONTROLLERS = {2: "memory", 4: "io", 8: "pids"}
MEM_FLAGS = (0, 1 << 13, 1 << 14, 1 << 15, 1 << 13 | 1 << 15)
SCOPES = ("any", "backdrop", "step")
ON_ERROR = ("fatal", "record")


def padded(table: bytes) -> bytes:
    return table + bytes(-len(table) % 8)


def mask(*numbers: int) -> bytes:
    return sum(1 << number for number in numbers).to_bytes(64, "little")


class Reader:
    """One program's bytes, read back."""

    def __init__(self, data: bytes) -> None:
        magic, version, head, total, self.flags, self.seed, self.deadline_ns, *rest = HEAD.unpack(data[:64])
        assert (magic, version, head, total) == (b"KTRP", 4, 64, len(data))
        *self.counts, crc = rest
        assert crc == crc32(data[64:], crc32(data[:60]))
        sizes = (1, 64, 16, 208, 16, 40, 72)
        self.tables, at = [], 64
        for count, size in zip(self.counts, sizes, strict=True):
            self.tables.append(data[at : at + count * size])
            end = at + count * size
            at = end + -end % 8
            assert not any(data[end:at])
        assert at == len(data)

    def text(self, offset: int) -> str:
        end = self.tables[0].index(b"\0", offset)
        return self.tables[0][offset:end].decode()

    def texts(self, offset: int, count: int) -> tuple[str, ...]:
        found = []
        for _ in range(count):
            found.append(self.text(offset))
            offset += len(found[-1].encode()) + 1
        return tuple(found)

    def numbers(self, number: int) -> tuple[int, ...] | None:
        if number == 0:
            return None
        bits = int.from_bytes(self.tables[1][number * 64 - 64 : number * 64], "little")
        assert bits
        return tuple(n for n in range(512) if bits >> n & 1)

    def program(self) -> Program:
        cgroups = tuple(self._cgroup(*row) for row in struct.iter_unpack("<IIII", self.tables[2]))
        works = tuple(self._work(*row) for row in WORK.iter_unpack(self.tables[3]))
        payloads = tuple(self._payload(*row) for row in PAYLOAD.iter_unpack(self.tables[5]))
        ops = self._block(0, self.counts[6])
        controllers: Any = tuple(name for flag, name in CONTROLLERS.items() if self.flags & flag)
        return Program(self.seed, self.deadline_ns, cgroups, works, payloads, ops, controllers)

    def _payload(self, argv: int, argc: int, cgroup: int, affinity: int, env: int, envc: int, *rest: int) -> Payload:
        folder, policy, priority, nice = rest
        assert envc or not env
        scheduling: Any = POLICIES[policy]
        return Payload(
            self.texts(argv, argc), cgroup, self.numbers(affinity), self.texts(env, envc), self.name(folder),
            scheduling, priority, nice,
        )  # fmt: skip

    def name(self, field: int) -> str:
        """Of a field that may be empty."""
        return self.text(field - 1) if field else ""

    def _cgroup(self, name: int, cpus: int, mems: int, reserved: int) -> Cgroup:
        assert reserved == 0
        return Cgroup(self.text(name), self.numbers(cpus), self.numbers(mems))

    def _work(self, kind: int, cgroup: int, first: int, count: int, *rest: int) -> Work:
        params, (policy, priority, nice, affinity), times = rest[:16], rest[16:20], rest[20:23]
        mode, mem_flags, mem_nodes, flags, comm, pcomm = rest[23:]
        name: Any = TYPES[kind]
        used = len(WORK_TYPES[name].params)
        assert not any(params[used:])
        workers = []
        for offset, order, own in WORKER.iter_unpack(self.tables[4][first * 16 : (first + count) * 16]):
            workers.append(Worker(offset, order, self.numbers(own)))
        assert len(workers) == count and flags < 8
        scheduling: Any = POLICIES[policy]
        memory: Any = MEM_POLICIES[mode]
        return Work(
            name, cgroup, tuple(workers), params[:used], scheduling, priority, nice, self.numbers(affinity),
            Deadline(*times) if any(times) else None,
            MemPolicy(memory, self.numbers(mem_nodes), mem_flags) if mode else None,
            bool(flags & 1), self.name(comm), self.name(pcomm), bool(flags & 4), bool(flags & 2),
        )  # fmt: skip

    def _block(self, first: int, count: int) -> tuple[Op, ...]:
        ops, at = [], first
        while at < first + count:
            op, inside = self._op(at)
            ops.append(op)
            at += 1 + inside
        assert at == first + count
        return tuple(ops)

    def _op(self, at: int) -> tuple[Op, int]:
        """The op and how many are inside of it. What is not asked for has to be zero."""
        names = (
            "kind", "on_error", "flags", "body", "scope", "cgroup", "work", "first_worker", "workers", "id", "mask",
            "path", "text", "count", "ns", "interval_ns", "jitter_ns",
        )  # fmt: skip
        left = dict(zip(names, OP.unpack(self.tables[6][at * 72 : (at + 1) * 72]), strict=True))
        kind, inside = left.pop("kind"), left["body"]
        on_error: Any = ON_ERROR[left.pop("on_error")]
        op = READ[kind](self, at, left.pop)
        assert not any(left.values()), (kind, left)
        return op.__class__(**{**vars(op), "on_error": on_error}), inside

    def who(self, take: Callable[[str], int]) -> Selector:
        scope: Any = SCOPES[take("scope")]
        cgroup, work = take("cgroup"), take("work")
        some = (take("first_worker"), take("workers"))
        return Selector(scope, None if cgroup == -1 else cgroup, None if work == -1 else work, *some)

    def cpus(self, take: Callable[[str], int]) -> tuple[int, ...]:
        found = self.numbers(take("mask"))
        assert found is not None
        return found

    def body(self, at: int, take: Callable[[str], int]) -> tuple[Op, ...]:
        return self._block(at + 1, take("body"))


READ: dict[int, Callable[[Reader, int, Callable[[str], int]], Op]] = {
    1: lambda r, at, take: StartScheduler(take("id"), take("ns")),
    2: lambda r, at, take: StopScheduler(take("ns")),
    3: lambda r, at, take: AddCgroup(take("id")),
    4: lambda r, at, take: Spawn(take("id")),
    5: lambda r, at, take: Release(r.who(take)),
    6: lambda r, at, take: Hold(take("ns")),
    7: lambda r, at, take: Delay(take("ns"), take("jitter_ns")),
    8: lambda r, at, take: StopWorkers(r.who(take), take("ns")),
    9: lambda r, at, take: RemoveCgroups(r.who(take)),
    10: lambda r, at, take: Scope(r.body(at, take), take("ns"), take("flags") == 2),
    11: lambda r, at, take: Repeat(r.body(at, take), take("count"), take("ns"), take("interval_ns")),
    12: lambda r, at, take: Checkpoint(take("id")),
    13: lambda r, at, take: Write(r.text(take("path")), r.text(take("text")), take("flags") == 1),
    14: lambda r, at, take: Read(r.text(take("path"))),
    15: lambda r, at, take: Run(take("id")),
    16: lambda r, at, take: Wait(take("id"), take("ns")),
    17: lambda r, at, take: Kill(take("id")),
    18: lambda r, at, take: Move(r.who(take), take("id")),
    19: lambda r, at, take: SetCpus(take("id"), r.cpus(take)),
    20: lambda r, at, take: SetAffinity(r.who(take), r.cpus(take)),
    21: lambda r, at, take: ClearCpus(take("id")),
    22: lambda r, at, take: WriteCgroup(take("id"), r.text(take("path")), r.text(take("text"))),
    23: lambda r, at, take: ReadCgroup(take("id"), r.text(take("path"))),
}

NS = st.integers(0, 86_400 * 10**9)
U32 = st.integers(0, 2**32 - 1)
CPUS = st.sets(st.integers(0, 511), min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))
NODES = st.sets(st.integers(0, 63), min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))
TEXTS = st.text("aZ0/ \n\x01\x7fü€𝄞", max_size=20)
PLAIN = st.text("aZ0/ ü€𝄞", max_size=20)
PATHS = PLAIN.map(lambda text: f"/{text}")
POLICY = st.one_of(
    st.tuples(st.sampled_from(("normal", "batch", "idle", "ext")), st.just(0)),
    st.tuples(st.sampled_from(("fifo", "rr")), st.integers(1, 98)),
)
TIMES = st.lists(st.integers(1024, 86_400 * 10**9), min_size=3, max_size=3).map(lambda found: Deadline(*sorted(found)))
COMMS = st.text("aZ0_ :~", max_size=15)
FILES = st.sampled_from(("cpu.max", "cgroup.freeze", "memory.high"))


@st.composite
def mem_policies(draw: st.DrawFn) -> MemPolicy:
    mode: Any = draw(st.sampled_from(MEM_POLICIES[1:]))
    if mode == "local":
        return MemPolicy(mode)
    return MemPolicy(mode, draw(NODES), draw(st.sampled_from(MEM_FLAGS)))


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """What a work may have beside its kind, workers and policy."""
    threads = draw(st.booleans())
    return {
        "mem_policy": draw(st.none() | mem_policies()),
        "threads": threads,
        "comm": draw(COMMS),
        "pcomm": draw(COMMS) if threads else "",
        "pages": draw(st.booleans()),
        "cgroup_namespace": draw(st.booleans()),
    }


def _param(param: WorkParam, is_crew: bool) -> st.SearchStrategy[int]:
    """Crews stay small, so that an example does."""
    return st.integers(param.low, min(param.high, param.low + 3) if is_crew else param.high)


@st.composite
def works(draw: st.DrawFn, cgroups: int) -> Work:
    """A work of any type; the order of its workers is for the program to say."""
    name: Any = draw(st.sampled_from(sorted(TYPES.values())))
    facts = WORK_TYPES[name]
    params = tuple(draw(_param(param, i < facts.group_params)) for i, param in enumerate(facts.params))
    crew = range(facts.group(params) * draw(st.integers(1, 3)))
    workers = tuple(Worker(draw(NS), 0, draw(st.none() | CPUS)) for _ in crew)
    deadline = draw(st.none() | TIMES)
    policy, priority = draw(POLICY) if deadline is None else ("deadline", 0)
    nice, affinity = draw(st.integers(-20, 19)), draw(st.none() | CPUS)
    placed: Any = (draw(st.integers(-1, cgroups - 1)), workers, params, policy, priority, nice, affinity, deadline)
    return Work(name, *placed, **draw(options()))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Valid programs in whose ops what is made is made once, blocks in blocks among them. Masks are ascending."""
    cgroups = tuple(
        Cgroup(f"c{i}", draw(st.none() | CPUS), draw(st.none() | NODES)) for i in range(draw(st.integers(0, 3)))
    )
    crews = tuple(draw(works(len(cgroups))) for _ in range(draw(st.integers(0, 3))))
    payloads = tuple(draw(started(len(cgroups))) for _ in range(draw(st.integers(0, 3))))
    ops = _Ops(draw, len(cgroups), crews, len(payloads)).whole()
    spawned = [op.work for op in ops if isinstance(op, Spawn)]
    numbered = tuple(dict.fromkeys([*spawned, *range(len(crews))]))
    order = iter(draw(st.permutations(range(sum(len(work.workers) for work in crews)))))
    ordered = {i: _ordered(crews[i], order) for i in numbered}
    controllers: Any = tuple(name for name in CONTROLLERS.values() if draw(st.booleans()))
    crews = tuple(ordered[i] for i in range(len(crews)))
    return Program(draw(st.integers(0, 2**64 - 1)), draw(NS), cgroups, crews, payloads, ops, controllers)


@st.composite
def started(draw: st.DrawFn, cgroups: int) -> Payload:
    """A payload; its folder may be none."""
    scheduling: Any = draw(POLICY)
    policy, priority = scheduling
    return Payload(
        (draw(PATHS), *draw(st.lists(TEXTS, max_size=3))), draw(st.integers(-1, cgroups - 1)), draw(st.none() | CPUS),
        tuple(f"N{text}=" for text in draw(st.lists(TEXTS, max_size=3))), draw(st.just("") | PATHS),
        policy, priority, draw(st.integers(-20, 19)),
    )  # fmt: skip


def _ordered(work: Work, order: Any) -> Work:
    workers = tuple(replace(worker, order=next(order)) for worker in work.workers)
    return replace(work, workers=workers)


class _Ops:
    """Draws ops: all that is made is made first, outside of every block; then come blocks of ops that need it."""

    def __init__(self, draw: st.DrawFn, cgroups: int, crews: tuple[Work, ...], payloads: int) -> None:
        self.draw, self.cgroups, self.crews, self.payloads = draw, cgroups, crews, payloads

    def on_error(self) -> Any:
        return self.draw(st.sampled_from(ON_ERROR))

    def whole(self) -> tuple[Op, ...]:
        made: list[Op] = [AddCgroup(i, on_error=self.on_error()) for i in range(self.cgroups)]
        made += [Spawn(i) for i in self.draw(st.permutations(range(len(self.crews))))]
        made += [Run(i) for i in range(self.payloads)]
        if self.payloads:
            made.append(StartScheduler(self.draw(st.integers(0, self.payloads - 1)), self.draw(NS)))
        made += self.block(0, 0)
        ends: list[Op] = [Kill(i) for i in range(self.payloads)]
        return (*made, *ends, StopWorkers(timeout_ns=self.draw(NS)), RemoveCgroups(), StopScheduler(self.draw(NS)))

    def block(self, depth: int, least: int, in_step: bool = False) -> tuple[Op, ...]:
        count = self.draw(st.integers(least, 3))
        return tuple(self.op(depth, in_step) for _ in range(count))

    def op(self, depth: int, in_step: bool) -> Op:
        kinds: list[str] = ["plain"] * 3 + ["who"] * 2
        kinds += ["cgroup"] * (self.cgroups > 0) + ["payload"] * (self.payloads > 0) + ["block"] * (depth < 4) * 2
        return {"plain": self.plain, "who": self.selecting, "cgroup": self.on_cgroup, "payload": self.on_payload,
                "block": self.nested}[self.draw(st.sampled_from(kinds))](depth, in_step)  # fmt: skip

    def plain(self, depth: int, in_step: bool) -> Op:
        return self.draw(
            st.one_of(
                st.builds(Hold, NS, on_error=st.sampled_from(ON_ERROR)),
                st.builds(Delay, NS, NS),
                st.builds(Checkpoint, U32),
                st.builds(Read, PATHS, on_error=st.sampled_from(ON_ERROR)),
            )
        )

    def selecting(self, depth: int, in_step: bool) -> Op:
        who = self.who(in_step)
        if self.draw(st.booleans()):
            return Release(who)
        return SetAffinity(who, self.draw(CPUS), on_error=self.on_error())

    def on_cgroup(self, depth: int, in_step: bool) -> Op:
        which = self.draw(st.integers(0, self.cgroups - 1))
        return self.draw(
            st.one_of(
                st.builds(Move, st.just(self.who(in_step)), st.just(which)),
                st.builds(SetCpus, st.just(which), CPUS),
                st.builds(ClearCpus, st.just(which)),
                st.builds(WriteCgroup, st.just(which), FILES, TEXTS, on_error=st.sampled_from(ON_ERROR)),
                st.builds(ReadCgroup, st.just(which), FILES),
            )
        )

    def on_payload(self, depth: int, in_step: bool) -> Op:
        return Wait(self.draw(st.integers(0, self.payloads - 1)), self.draw(NS))

    def nested(self, depth: int, in_step: bool) -> Op:
        if self.draw(st.booleans()):
            count = self.draw(U32)
            ns = self.draw(NS if count else st.integers(1, 10**9))
            return Repeat(self.block(depth + 1, 1, in_step), count, ns, self.draw(NS))
        step = self.draw(st.booleans())
        inside = self.block(depth + 1, 0, in_step or step)
        written = Write(self.draw(PATHS), self.draw(TEXTS), self.draw(st.booleans()), on_error=self.on_error())
        return Scope((written, *inside), self.draw(NS), step, on_error=self.on_error())

    def who(self, in_step: bool) -> Selector:
        scope: Any = self.draw(st.sampled_from(SCOPES if in_step else SCOPES[:2]))
        cgroup = self.draw(st.none() | st.integers(0, self.cgroups - 1)) if self.cgroups else None
        work = self.draw(st.none() | st.integers(0, len(self.crews) - 1)) if self.crews else None
        if work is None or self.draw(st.booleans()):
            return Selector(scope, cgroup, work)
        first = self.draw(st.integers(0, len(self.crews[work].workers) - 1))
        count = self.draw(st.integers(1, len(self.crews[work].workers) - first))
        return Selector(scope, cgroup, work, first, count)
