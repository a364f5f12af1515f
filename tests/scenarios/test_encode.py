from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Delay,
    Hold,
    Op,
    Program,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Worker,
)

W = Worker()


def whole(*ops: tuple[int, bytes], seed: int = 0, deadline: int = 0, flags: int = 1) -> bytes:
    """A program made by hand from the protocol's description."""
    body = b"".join(struct.pack("<HHI", kind, 0, len(payload)) + payload for kind, payload in ops)
    head = struct.pack("<4sHHIIQQI", b"KTRP", 1, 40, 40 + len(body), len(ops), seed, deadline, flags)
    return head + struct.pack("<I", crc32(head + body)) + body


def mask(*cpus: int) -> bytes:
    return sum(1 << cpu for cpu in cpus).to_bytes(64, "little")


def test_empty_program_is_its_header() -> None:
    assert encode(Program(7, 10**9)) == whole(seed=7, deadline=10**9)
    assert encode(Program(7, 10**9), cpu_controller=False) == whole(seed=7, deadline=10**9, flags=0)


def test_each_op_has_the_bytes_of_the_description() -> None:
    ops: tuple[Op, ...] = (
        StartScheduler(("/sched/bin/x", "-a"), 5),
        AddCgroup("a/b", (0, 64, 511)),
        AddCgroup("c"),
        Spawn(1, 3, "PipeIo", (Worker(9), W), (1024,), "fifo", 7, 0, (1, 2)),
        Spawn(-1, 4, "SpinWait", (W,), nice=-20),
        Release((2, 0, 1)),
        Hold(11),
        Delay(12),
        StopWorkers(13),
        RemoveCgroups(),
        StopScheduler(14),
    )
    spawn = "<iIII4QIiiI"
    assert encode(Program(1, 2, ops)) == whole(
        (1, struct.pack("<QII", 5, 2, 16) + b"/sched/bin/x\0-a\0"),
        (3, struct.pack("<128sII", b"a/b", 1, 0) + mask(0, 64, 511)),
        (3, struct.pack("<128sII", b"c", 0, 0) + mask()),
        (4, struct.pack(spawn, 1, 3, 5, 2, 1024, 0, 0, 0, 3, 7, 0, 1) + mask(1, 2) + struct.pack("<QQ", 9, 0)),
        (4, struct.pack(spawn, -1, 4, 1, 1, 0, 0, 0, 0, 0, 0, -20, 0) + mask() + struct.pack("<Q", 0)),
        (5, struct.pack("<II4I", 3, 0, 2, 0, 1, 0)),
        (6, struct.pack("<Q", 11)),
        (7, struct.pack("<Q", 12)),
        (8, struct.pack("<Q", 13)),
        (9, b""),
        (2, struct.pack("<Q", 14)),
        seed=1,
        deadline=2,
    )


def test_arguments_are_padded_to_eight_bytes() -> None:
    data = encode(Program(0, 0, (StartScheduler(("/x",), 0),)))
    assert data[40:] == struct.pack("<HHIQII", 1, 0, 24, 0, 1, 3) + b"/x\0\0\0\0\0\0"


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 10**12), max_size=20))
def test_same_program_same_bytes(seed: int, holds: list[int]) -> None:
    def make() -> Program:
        return Program(seed, 10**12, tuple(map(Hold, holds)))

    data = encode(make())
    assert data == encode(make())
    assert len(data) == 40 + 16 * len(holds)


def spawn(count: int = 1, work_type: str = "SpinWait", **fields: object) -> Spawn:
    return Spawn(-1, 0, work_type, (W,) * count, **fields)  # type: ignore[arg-type]


REFUSED: dict[str, tuple[tuple[Op, ...], str]] = {
    "hold": ((Hold(-1),), "hold in ns is -1, expected 0 to 86400000000000"),
    "long hold": ((Hold(86_400 * 10**9 + 1),), "expected 0 to 86400000000000"),
    "cpu": ((AddCgroup("a", (512,)),), "cpuset of cgroup a: CPU is 512, expected 0 to 511"),
    "no cpu": ((AddCgroup("a", ()),), "cpuset of cgroup a holds no CPU"),
    "name up": ((AddCgroup("../a"),), "cgroup name '../a'"),
    "name empty part": ((AddCgroup("a//b"),), "cgroup name 'a//b'"),
    "name absolute": ((AddCgroup("/a"),), "cgroup name '/a'"),
    "name newline": ((AddCgroup("a\n"),), "cgroup name"),
    "name long": ((AddCgroup("/".join(["x" * 50] * 3)),), "127 bytes in all"),
    "cgroups": (tuple(AddCgroup(f"c{i}") for i in range(257)), "number of cgroups is 257, expected 1 to 256"),
    "which cgroup": ((Spawn(0, 0, "SpinWait", (W,)),), "cgroup of SpinWait workers (work 0) is 0, expected -1 to -1"),
    "inner and outer": (
        (AddCgroup("a"), AddCgroup("a/b"), Spawn(1, 0, "SpinWait", (W,)), Spawn(0, 0, "SpinWait", (W,))),
        "cgroups a and a/b both hold workers, expected only the innermost to hold any",
    ),
    "odd pair": ((spawn(3, "PipeIo", params=(1,)),), "3 PipeIo workers (work 0): expected a positive multiple of 2"),
    "no workers": ((spawn(0),), "expected a positive multiple of 1"),
    "workers": ((spawn(4096), spawn(1)), "number of workers is 4097, expected 1 to 4096"),
    "params": ((spawn(1, "Bursty", params=(1,)),), "found 1 parameters, expected 2"),
    "work type": ((spawn(1, "Nap"),), "unknown work type"),
    "policy": ((spawn(policy="deadline"),), "policy 'deadline'"),
    "priority": ((spawn(policy="fifo", priority=99),), "is 99, expected 1 to 98"),
    "no priority": ((spawn(policy="rr"),), "is 0, expected 1 to 98"),
    "idle priority": ((spawn(priority=1),), "is 1, expected 0 to 0"),
    "nice": ((spawn(nice=20),), "is 20, expected -20 to 19"),
    "affinity": ((spawn(affinity=()),), "affinity of SpinWait workers (work 0) holds no CPU"),
    "release": ((spawn(2), Release((0, 0))), "release order"),
    "release few": ((spawn(2), Release((0,))), "names 1 workers, expected each of the 2 blocked ones once"),
    "release again": ((spawn(1), Release((0,)), Release((0,))), "each of the 0 blocked"),
    "argv": ((StartScheduler((), 0),), "scheduler arguments is 0, expected 1 to 64"),
    "argv empty": ((StartScheduler(("",), 0),), "empty program name"),
    "argv NUL": ((StartScheduler(("/x", "a\0b"), 0),), "NUL"),
    "argv long": ((StartScheduler(("/x", "y" * 8190), 0),), "expected 1 to 8192"),
    "two schedulers": ((StartScheduler(("/x",), 0),) * 2, "second scheduler"),
    "ops": ((Hold(0),) * 8193, "8193 steps, expected at most 8192"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_agent_would_refuse_is_the_users_error(name: str) -> None:
    ops, reason = REFUSED[name]
    with pytest.raises(InputError) as caught:
        encode(Program(0, 0, ops))
    assert reason in caught.value.message


def test_seed_and_deadline_have_bounds() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        encode(Program(-1, 0))
    with pytest.raises(InputError, match="deadline in ns"):
        encode(Program(0, 2**63))


def test_a_stopped_worker_need_not_be_released() -> None:
    encode(Program(0, 0, (spawn(2), StopWorkers(), spawn(1), Release((2,)))))


def test_siblings_and_an_empty_parent_may_hold_workers() -> None:
    cgroups = (AddCgroup("a"), AddCgroup("a/b"), AddCgroup("a/bc"), AddCgroup("ab"))
    encode(Program(0, 0, (*cgroups, *(Spawn(i, 0, "SpinWait", (W,)) for i in (1, 2, 3, 3)))))
