"""What the agent would refuse is the user's error, with the op or the entry, its field and the limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ktstr.errors import InputError
from ktstr.record.vocabulary import OPS
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    EVERYTHING,
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

W = Worker()
DAY = 86_400 * 10**9
WRONG: Any = "x"
TABLES: dict[str, Any] = {
    "cgroups": (Cgroup("a"), Cgroup("b"), Cgroup("a/b")),
    "works": (
        Work("SpinWait", -1, (W, W)),
        Work("SpinWait", 0, (W,)),
        Work("PipeIo", 2, (W, W), (1,)),
    ),
    "payloads": (Payload(("/x",)), Payload(("/y",), 1), Payload(("/z",), 0)),
}


def program(*ops: Op, **tables: Any) -> Program:
    return Program(0, 0, ops=ops, **{**TABLES, **tables})


def work(count: int = 1, type: Any = "SpinWait", cgroup: int = -1, **more: Any) -> dict[str, Any]:
    """A table with one work."""
    return {"works": (Work(type, cgroup, (W,) * count, **more),)}


def cgroup(*masks: tuple[int, ...] | None) -> dict[str, Any]:
    """A table with one cgroup, and no other."""
    return {"works": (), "payloads": (), "cgroups": (Cgroup("a", *masks),)}


def cgroups(*names: str) -> dict[str, Any]:
    return {"works": (), "payloads": (), "cgroups": tuple(map(Cgroup, names))}


def payload(*argv: str, **more: Any) -> dict[str, Any]:
    return {"payloads": (Payload(argv, **more),)}


def nested(depth: int, block: Callable[[tuple[Op, ...]], Op]) -> Op:
    op: Op = Hold(0)
    for _ in range(depth):
        op = block((op,))
    return op


WRONG_TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "cgroup cpu": (cgroup((512,)), "cgroup 0: cpus: CPU is 512, expected 0 to 511"),
    "cgroup no cpu": (cgroup(()), "cgroup 0: cpus holds no CPU, expected at least one"),
    "cgroup node": (cgroup(None, (64,)), "cgroup 0: mems: node is 64, expected 0 to 63"),
    "cgroup no node": (cgroup(None, ()), "cgroup 0: mems holds no node"),
    "name up": (cgroups("../a"), "cgroup 0: name '../a'"),
    "name empty part": (cgroups("a//b"), "cgroup 0: name 'a//b'"),
    "name absolute": (cgroups("/a"), "cgroup 0: name '/a'"),
    "name newline": (cgroups("a\n"), "cgroup 0: name"),
    "name other": (cgroups("ü"), "cgroup 0: name 'ü'"),
    "name long": (cgroups("/".join(["x" * 50] * 6)), "255 bytes in all"),
    "name deep": (cgroups("/".join("abcdefghi")), "expected 1 to 8 parts"),
    "name twice": (cgroups("a", "b", "a"), "cgroup 2: name 'a' is there twice, expected each once"),
    "cgroups": (cgroups(*(f"c{i}" for i in range(257))), "number of cgroups is 257, expected 0 to 256"),
    "works": ({"works": (Work("SpinWait", -1, (W,)),) * 4097}, "number of works is 4097, expected 0 to 4096"),
    "workers": (
        {"works": (Work("SpinWait", -1, (W,) * 4096), Work("Mixed", -1, (W,)))},
        "number of workers is 4097, expected 0 to 4096",
    ),
    "payloads": ({"payloads": (Payload(("/x",)),) * 65}, "number of payloads is 65, expected 0 to 64"),
    "work cgroup": (work(cgroup=3), "work 0 (SpinWait): cgroup is 3, expected -1 to 2"),
    "work cgroup below": (work(cgroup=-2), "work 0 (SpinWait): cgroup is -2, expected -1 to 2"),
    "odd pair": (work(3, "PipeIo", params=(1,)), "work 0 (PipeIo): 3 workers, expected a positive multiple of 2"),
    "no workers": (work(0), "work 0 (SpinWait): 0 workers, expected a positive multiple of 1"),
    "offset": (
        {"works": (Work("SpinWait", -1, (Worker(DAY + 1),)),)},
        f"work 0 (SpinWait): start_offset_ns is {DAY + 1}",
    ),
    "params": (work(1, "Bursty", params=(1,)), "work 0 (Bursty): found 1 parameters, expected 2"),
    "param": (
        work(1, "Bursty", params=(1000, 999)),
        "work 0 (Bursty): sleep_ns is 999, expected 1000 to 3600000000000",
    ),
    "param above": (work(2, "PipeIo", params=(2**31 + 1,)), "work 0 (PipeIo): burst_iters is 2147483649"),
    "work type": (work(1, "Nap"), "work 0: type is 'Nap', expected one of SpinWait, YieldHeavy"),
    "policy": (
        work(policy="late"),
        "work 0: policy is 'late', expected one of normal, batch, idle, fifo, rr, deadline",
    ),
    "policy without its deadline": (work(policy="deadline"), "policy is deadline, expected a deadline with policy"),
    "deadline of another policy": (work(deadline=Deadline(1024, 1024, 1024)), "policy is normal, expected a deadline"),
    "runtime": (
        work(policy="deadline", deadline=Deadline(1023, 2000, 3000)),
        f"work 0 (SpinWait): runtime_ns is 1023, expected 1024 to {DAY}",
    ),
    "deadline before runtime": (
        work(policy="deadline", deadline=Deadline(3000, 2999, 4000)),
        f"deadline_ns is 2999, expected 3000 to {DAY}",
    ),
    "period before deadline": (
        work(policy="deadline", deadline=Deadline(2000, 3000, 2999)),
        f"period_ns is 2999, expected 3000 to {DAY}",
    ),
    "deadline priority": (
        work(policy="deadline", priority=1, deadline=Deadline(2000, 3000, 4000)),
        "priority under policy deadline is 1, expected 0 to 0",
    ),
    "ext priority": (work(policy="ext", priority=1), "priority under policy ext is 1, expected 0 to 0"),
    "memory of no mode": (work(mem_policy=MemPolicy(WRONG, (0,))), "mem_policy.mode is 'x', expected one of default"),
    "memory of no nodes": (work(mem_policy=MemPolicy("bind")), "mem_policy.nodes: found None for bind"),
    "memory of an empty set": (work(mem_policy=MemPolicy("bind", ())), "mem_policy.nodes holds no node"),
    "memory of a node": (work(mem_policy=MemPolicy("bind", (64,))), "mem_policy.nodes: node is 64, expected 0 to 63"),
    "local of nodes": (work(mem_policy=MemPolicy("local", (0,))), "mem_policy.nodes: found (0,) for local"),
    "local flags": (work(mem_policy=MemPolicy("local", None, 1 << 15)), "mem_policy.flags is 0x8000, expected some of"),
    "memory flags": (work(mem_policy=MemPolicy("bind", (0,), 1)), "mem_policy.flags is 0x1, expected some of 0xe000"),
    "static and relative": (
        work(mem_policy=MemPolicy("bind", (0,), 3 << 14)),
        "mem_policy.flags is 0xc000, expected static or relative nodes, not both",
    ),
    "comm": (work(comm="x" * 16), "comm is 'xxxxxxxxxxxxxxxx', expected at most 15 printable ASCII without '/'"),
    "comm like ours": (work(comm="worker/1"), "comm is 'worker/1', expected at most 15"),
    "comm line": (work(comm="a\n"), "comm is 'a\\n', expected at most 15"),
    "pcomm": (work(threads=True, pcomm="ü"), "pcomm is 'ü', expected at most 15 printable ASCII"),
    "pcomm of processes": (work(pcomm="x"), "pcomm is 'x', expected it of threads only"),
    "worker affinity": (
        {"works": (Work("SpinWait", -1, (Worker(affinity=(512,)),)),)},
        "work 0 (SpinWait): affinity of a worker: CPU is 512, expected 0 to 511",
    ),
    "priority": (
        work(policy="fifo", priority=99),
        "work 0 (SpinWait): priority under policy fifo is 99, expected 1 to 98",
    ),
    "no priority": (work(policy="rr"), "priority under policy rr is 0, expected 1 to 98"),
    "idle priority": (work(policy="idle", priority=1), "priority under policy idle is 1, expected 0 to 0"),
    "nice": (work(nice=20), "work 0 (SpinWait): nice is 20, expected -20 to 19"),
    "work affinity": (work(affinity=()), "work 0 (SpinWait): affinity holds no CPU"),
    "order of some": (
        {"works": (Work("SpinWait", -1, (W, Worker(0, 1))),)},
        "order of workers: expected each of 0 to 1 once",
    ),
    "order twice": (
        {"works": (Work("SpinWait", -1, (Worker(0, 1),) * 2),)},
        "order of workers: expected each of 0 to 1 once",
    ),
    "order outside": (
        {"works": (Work("SpinWait", -1, (Worker(0, 1),)),)},
        "order of workers: expected each of 0 to 0 once",
    ),
    "argv": (payload(), "payload 0: number of arguments is 0, expected 1 to 64"),
    "argv many": (payload("/x", *["a"] * 64), "payload 0: number of arguments is 65, expected 1 to 64"),
    "argv empty": (payload(""), "payload 0: found an empty program name"),
    "argv NUL": (payload("/x", "a\0b"), "payload 0: argument is 'a\\x00b', expected no NUL in it"),
    "argv surrogate": (payload("/x", "\ud800"), "payload 0: argument is '\\ud800', expected what UTF-8 can hold"),
    "argv long": (payload("/x", "y" * 8190), "payload 0: bytes of arguments is 8194, expected 1 to 8192"),
    "payload cgroup": (payload("/x", cgroup=3), "payload 0: cgroup is 3, expected -1 to 2"),
    "variables": (payload("/x", env=("A=",) * 65), "payload 0: number of variables is 65, expected 0 to 64"),
    "variable": (payload("/x", env=("A",)), "payload 0: variable 'A', expected NAME=VALUE"),
    "variable of no name": (payload("/x", env=("=a",)), "payload 0: variable '=a', expected NAME=VALUE"),
    "variables long": (payload("/x", env=("A=" + "y" * 8190,)), "bytes of variables is 8193, expected 0 to 8192"),
    "folder": (payload("/x", folder="a"), "payload 0: folder is 'a', expected an absolute path"),
    "payload policy": (
        payload("/x", policy="deadline"),
        "payload 0: policy is 'deadline', expected one of normal, batch, idle, fifo, rr, ext",
    ),
    "payload priority": (payload("/x", policy="fifo"), "priority under policy fifo is 0, expected 1 to 98"),
    "payload nice": (payload("/x", nice=-21), "payload 0: nice is -21, expected -20 to 19"),
    "payload affinity": (payload("/x", affinity=(512,)), "payload 0: affinity: CPU is 512"),
}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_table_that_the_agent_would_refuse(name: str) -> None:
    tables, reason = WRONG_TABLES[name]
    with pytest.raises(InputError) as caught:
        encode(program(**tables))
    assert reason in caught.value.message


A, B, INNER = AddCgroup(0), AddCgroup(1), AddCgroup(2)
WRONG_FIELDS: dict[str, tuple[tuple[Op, ...], str]] = {
    "below 0": ((Hold(-1),), f"op 0 (Hold): duration_ns is -1, expected 0 to {DAY}"),
    "hold": ((Hold(0), Hold(DAY + 1)), f"op 1 (Hold): duration_ns is {DAY + 1}, expected 0 to {DAY}"),
    "delay": ((Delay(DAY + 1),), "op 0 (Delay): duration_ns"),
    "jitter": ((Delay(0, DAY + 1),), "op 0 (Delay): jitter_ns"),
    "attach": ((StartScheduler(0, DAY + 1),), "op 0 (StartScheduler): timeout_ns"),
    "detach": ((StopScheduler(DAY + 1),), "op 0 (StopScheduler): timeout_ns"),
    "stop": ((StopWorkers(timeout_ns=DAY + 1),), "op 0 (StopWorkers): timeout_ns"),
    "scope": ((Scope((Hold(0),), DAY + 1),), "op 0 (Scope): timeout_ns"),
    "repeat": ((Repeat((Hold(0),), 0, DAY + 1),), "op 0 (Repeat): duration_ns"),
    "interval": ((Repeat((Hold(0),), 1, 0, DAY + 1),), "op 0 (Repeat): interval_ns"),
    "wait": ((Wait(0, DAY + 1),), "op 0 (Wait): timeout_ns"),
    "count": ((Repeat((Hold(0),), 2**32),), "op 0 (Repeat): count is 4294967296, expected 0 to 4294967295"),
    "phase": ((Checkpoint(-1),), "op 0 (Checkpoint): phase is -1, expected 0 to 4294967295"),
    "which cgroup": ((AddCgroup(3),), "op 0 (AddCgroup): cgroup is 3, expected 0 to 2"),
    "which work": ((Spawn(-1),), "op 0 (Spawn): work is -1, expected 0 to 2"),
    "which payload": ((Run(3),), "op 0 (Run): payload is 3, expected 0 to 2"),
    "move where": ((Move(EVERYTHING, -1),), "op 0 (Move): cgroup is -1, expected 0 to 2"),
    "on_error": ((Hold(0, on_error=WRONG),), "op 0 (Hold): on_error is 'x', expected one of fatal, record"),
    "path": ((Read("a"),), "op 0 (Read): path is 'a', expected an absolute path without control characters"),
    "path control": ((Read("/a\n"),), "op 0 (Read): path is '/a\\n', expected an absolute path"),
    "path delete": ((Read("/\x7f"),), "op 0 (Read): path"),
    "path NUL": ((Read("/a\0"),), "op 0 (Read): path is '/a\\x00', expected no NUL in it"),
    "path long": ((Read("/" * 4096),), "op 0 (Read): path: bytes is 4096, expected 0 to 4095"),
    "file": ((A, ReadCgroup(0, "a/cpu.max")), "op 1 (ReadCgroup): file is 'a/cpu.max', expected the name of a file"),
    "file above": ((A, WriteCgroup(0, "..", "")), "op 1 (WriteCgroup): file is '..', expected the name of a file"),
    "file long": ((A, ReadCgroup(0, "x" * 65)), "op 1 (ReadCgroup): file is 'xxxx"),
    "file none": ((A, ReadCgroup(0, "")), "op 1 (ReadCgroup): file is '', expected the name of a file"),
    "file text": ((A, WriteCgroup(0, "cpu.max", "\0")), "op 1 (WriteCgroup): text is '\\x00', expected no NUL in it"),
    "text NUL": ((Write("/a", "\0"),), "op 0 (Write): text is '\\x00', expected no NUL in it"),
    "text long": ((Write("/a", "ü" * 2048),), "op 0 (Write): text: bytes is 4096, expected 0 to 4095"),
    "cpus": ((SetAffinity(EVERYTHING, (512,)),), "op 0 (SetAffinity): cpus: CPU is 512, expected 0 to 511"),
    "no cpus": ((A, SetCpus(0, ())), "op 1 (SetCpus): cpus holds no CPU"),
    "body": ((Hold(0), Scope(())), "op 1 (Scope): body is empty, expected at least one op"),
    "repeat nothing": ((Repeat(()),), "op 0 (Repeat): body is empty"),
    "no limit": ((Repeat((Hold(0),)),), "op 0 (Repeat): count and duration_ns are 0, expected a limit by one of them"),
    "who scope": ((Release(Selector(WRONG)),), "op 0 (Release): who.scope is 'x', expected one of any, backdrop, step"),
    "who no step": (
        (Scope((Release(Selector("step")),)),),
        "op 1 (Release): who.scope is 'step', expected it in a Scope that is a step",
    ),
    "who cgroup": ((Release(Selector(cgroup=3)),), "op 0 (Release): who.cgroup is 3, expected 0 to 2"),
    "who work": ((Release(Selector(work=3)),), "op 0 (Release): who.work is 3, expected 0 to 2"),
    "who workers": (
        (Release(Selector(workers=1)),),
        "op 0 (Release): who names some workers of any work, expected a work",
    ),
    "who first alone": ((Release(Selector(first_worker=1)),), "who names some workers of any work"),
    "who first": ((Release(Selector(work=0, first_worker=2, workers=1)),), "who.first_worker is 2, expected 0 to 1"),
    "who first of all": ((Release(Selector(work=0, first_worker=1)),), "who.first_worker is 1, expected 0 to 0"),
    "who many": ((Release(Selector(work=0, first_worker=1, workers=2)),), "who.workers is 2, expected 0 to 1"),
    "cgroups of a work": (
        (RemoveCgroups(Selector(work=0)),),
        "op 0 (RemoveCgroups): who.work is 0, expected none: it names cgroups",
    ),
    "ops": ((Hold(0),) * 8193, "program has more than 8192 ops, expected at most that"),
    "ops inside": ((Scope((Hold(0),) * 8192),), "program has more than 8192 ops"),
    "deep": ((nested(5, Scope),), "op 4 (Scope): depth of blocks is 5, expected 1 to 4"),
    "deep repeat": ((nested(5, lambda body: Repeat(body, 1)),), "op 4 (Repeat): depth of blocks is 5, expected 1 to 4"),
}

WRONG_FLOW: dict[str, tuple[tuple[Op, ...], str]] = {
    "cgroup twice": ((A, A), "op 1 (AddCgroup): cgroup 0 is made already, expected one that is not"),
    "work twice": ((Spawn(0), Spawn(0)), "op 1 (Spawn): work 0 is made already"),
    "payload twice": ((Run(0), Run(0)), "op 1 (Run): payload 0 is made already"),
    "two schedulers": (
        (StartScheduler(0, 0), StartScheduler(1, 0)),
        "op 1 (StartScheduler): a scheduler is started, expected its StopScheduler",
    ),
    "spawn into none": ((B, Spawn(1)), "op 1 (Spawn): cgroup 0 is not made here, expected one that is"),
    "run in none": ((Run(1),), "op 0 (Run): cgroup 1 is not made here"),
    "scheduler in none": ((StartScheduler(1, 0),), "op 0 (StartScheduler): cgroup 1 is not made here"),
    "move into none": ((Move(EVERYTHING, 0),), "op 0 (Move): cgroup 0 is not made here"),
    "cpus of none": ((SetCpus(0, (1,)),), "op 0 (SetCpus): cgroup 0 is not made here"),
    "clear the cpus of none": ((ClearCpus(0),), "op 0 (ClearCpus): cgroup 0 is not made here"),
    "write to none": ((WriteCgroup(0, "cpu.max", ""),), "op 0 (WriteCgroup): cgroup 0 is not made here"),
    "read of none": ((A, RemoveCgroups(), ReadCgroup(0, "cpu.max")), "op 2 (ReadCgroup): cgroup 0 is not made here"),
    "removed with what it is in": (
        (A, INNER, RemoveCgroups(Selector(cgroup=0)), Spawn(2)),
        "op 3 (Spawn): cgroup 2 is not made here",
    ),
    "wait for none": ((Wait(0, 0),), "op 0 (Wait): payload 0 is not made here"),
    "kill none": ((Kill(0),), "op 0 (Kill): payload 0 is not made here"),
    "kill twice": ((Run(0), Kill(0), Kill(0)), "op 2 (Kill): payload 0 is not made here"),
    "removed": ((A, RemoveCgroups(), Spawn(1)), "op 2 (Spawn): cgroup 0 is not made here"),
    "cgroup of a scope": ((Scope((A,)), Spawn(1)), "op 2 (Spawn): cgroup 0 is not made here"),
    "payload of a scope": ((Scope((Run(0),)), Wait(0, 0)), "op 2 (Wait): payload 0 is not made here"),
    "still there in a scope": ((A, Scope((A,))), "op 2 (AddCgroup): cgroup 0 is made already"),
    "still there after a scope": ((A, Scope((Hold(0),)), A), "op 3 (AddCgroup): cgroup 0 is made already"),
    "scope in a scope": ((Scope((Scope((B,)), A, B, B)),), "op 5 (AddCgroup): cgroup 1 is made already"),
    "not all workers": (
        (Spawn(0), StopWorkers(Selector(work=0, workers=2)), Spawn(0)),
        "op 2 (Spawn): work 0 is made already",
    ),
    "another work": ((Spawn(0), StopWorkers(Selector(work=1)), Spawn(0)), "op 2 (Spawn): work 0 is made already"),
    "another cgroup": ((Spawn(0), StopWorkers(Selector(cgroup=0)), Spawn(0)), "op 2 (Spawn): work 0 is made already"),
    "of the backdrop": (
        (Spawn(0), Scope((StopWorkers(Selector("step")), Spawn(0)), step=True)),
        "op 3 (Spawn): work 0 is made already",
    ),
    "of the step": (
        (Scope((Spawn(0), StopWorkers(Selector("backdrop")), Spawn(0)), step=True),),
        "op 3 (Spawn): work 0 is made already",
    ),
    "of the outer step": (
        (Scope((Spawn(0), Scope((StopWorkers(Selector("step")), Spawn(0)), step=True)), step=True),),
        "op 4 (Spawn): work 0 is made already",
    ),
    "works stay without their cgroup": (
        (A, Spawn(1), RemoveCgroups(), A, Spawn(1)),
        "op 4 (Spawn): work 1 is made already",
    ),
    "other cgroup": ((A, RemoveCgroups(Selector(cgroup=1)), A), "op 2 (AddCgroup): cgroup 0 is made already"),
    "cgroup of the step": (
        (A, Scope((RemoveCgroups(Selector("step")), A), step=True)),
        "op 3 (AddCgroup): cgroup 0 is made already",
    ),
    "inner and outer": (
        (A, INNER, Spawn(2), Spawn(1)),
        "op 3 (Spawn): cgroups a and a/b both hold workers, expected only the innermost to hold any",
    ),
    "payload in outer": ((A, INNER, Spawn(2), Run(2)), "op 3 (Run): cgroups a and a/b both hold workers"),
    "moved to outer": ((A, INNER, Spawn(2), Move(EVERYTHING, 0)), "op 3 (Move): cgroups a and a/b both hold workers"),
    "scheduler in outer": (
        (A, INNER, Spawn(2), StartScheduler(2, 0)),
        "op 3 (StartScheduler): cgroups a and a/b both hold workers",
    ),
}
MAKERS: dict[str, Op] = {
    "StartScheduler": StartScheduler(0, 0), "AddCgroup": A, "Spawn": Spawn(0), "Write": Write("/a", ""), "Run": Run(0),
}  # fmt: skip


@pytest.mark.parametrize("name", [*WRONG_FIELDS, *WRONG_FLOW])
def test_an_op_that_the_agent_would_refuse(name: str) -> None:
    ops, reason = {**WRONG_FIELDS, **WRONG_FLOW}[name]
    with pytest.raises(InputError) as caught:
        encode(program(*ops))
    assert reason in caught.value.message


@pytest.mark.parametrize("name", [name for name, facts in OPS.items() if facts.makes])
def test_what_a_repeat_makes_ends_in_a_scope_of_each_pass(name: str) -> None:
    op = MAKERS[name]
    reason = rf"op 2 \({name}\): stands in a Repeat, expected it in a Scope in there"
    for ops in ((Hold(0), Repeat((op,), 1)), (Scope((Repeat((op,), 1),)),), (Hold(0), Repeat((op, Hold(0)), 1))):
        with pytest.raises(InputError, match=reason):
            encode(program(*ops))
    encode(program(Repeat((Scope((op,)),), 2), Repeat((Hold(0), Scope((Scope((op,)),))), 2)))


def test_seed_and_deadline_have_bounds() -> None:
    with pytest.raises(InputError, match=r"^seed is -1, expected 0 to 18446744073709551615$"):
        encode(Program(-1, 0))
    with pytest.raises(InputError, match=f"deadline_ns is 9223372036854775808, expected 0 to {DAY}"):
        encode(Program(0, 2**63))


RIGHT: dict[str, tuple[Op, ...]] = {
    "a stopped work may be spawned again": (Spawn(0), StopWorkers(), Spawn(0)),
    "one of two works": (A, Spawn(0), Spawn(1), StopWorkers(Selector(work=1)), Spawn(1)),
    "the works of a cgroup": (A, Spawn(0), Spawn(1), StopWorkers(Selector(cgroup=0)), Spawn(1)),
    "a work of the backdrop": (Spawn(0), Scope((StopWorkers(Selector("backdrop")), Spawn(0)), step=True)),
    "a work of the step": (Scope((Spawn(0), StopWorkers(Selector("step")), Spawn(0)), step=True),),
    "a scope that is no step is in the backdrop": (Scope((Spawn(0), StopWorkers(Selector("backdrop")), Spawn(0))),),
    "a removed cgroup may be made again": (A, RemoveCgroups(), A),
    "one of two cgroups": (A, B, RemoveCgroups(Selector(cgroup=0)), A),
    "what is in a cgroup is removed with it": (A, INNER, RemoveCgroups(Selector(cgroup=0)), A, INNER, Spawn(2)),
    "inner, and later outer": (Scope((A, INNER, Spawn(2))), A, Spawn(1)),
    "files of a cgroup": (A, WriteCgroup(0, "cpu.max", "max"), ReadCgroup(0, "x" * 64), ClearCpus(0)),
    "a killed payload may be run again": (Run(0), Wait(0, DAY), Kill(0), Run(0)),
    "a stopped scheduler may be started again": (StartScheduler(0, 0), StopScheduler(0), StartScheduler(0, 0)),
    "what a scope made may be made after it": (
        Scope((A, Spawn(1), Run(0), StartScheduler(0, 0))),
        A,
        Spawn(1),
        Run(0),
        StartScheduler(0, 0),
    ),
    "what is around a scope is there in it": (A, Run(0), Scope((Spawn(1), SetCpus(0, (1,)), Wait(0, 0)))),
    "an empty text": (Write("/a", ""),),
    "the longest text and path": (Write("/" * 4095, "x" * 4095),),
    "the deepest block": (nested(4, Scope), nested(4, lambda body: Repeat(body, 1))),
    "the largest numbers": (Delay(DAY, DAY), Repeat((Checkpoint(2**32 - 1),), 2**32 - 1, DAY, DAY)),
    "the most ops": (Hold(0),) * 8192,
    "siblings and an empty parent": (A, INNER, B, Spawn(2), Move(EVERYTHING, 1), Run(1)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_agent_takes_is_not_refused(name: str) -> None:
    encode(program(*RIGHT[name]))
