from __future__ import annotations

import struct
from dataclasses import fields
from itertools import islice, product
from typing import get_args
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.record.vocabulary import OPS
from ktstr.scenarios.encode import OP_FIELDS, encode
from ktstr.scenarios.program import (
    EVERYTHING,
    Cgroup,
    Deadline,
    Hold,
    MemPolicy,
    Op,
    Payload,
    Program,
    Release,
    Scope,
    Selector,
    SetAffinity,
    Spawn,
    StopWorkers,
    Work,
    Worker,
    Write,
    flat,
    spawn_order,
)
from tests.scenarios.programs import OP, PAYLOAD, WORK, WORKER, Reader, mask, padded, programs


def whole(
    strings: bytes = b"", masks: bytes = b"", cgroups: bytes = b"", works: bytes = b"", workers: bytes = b"",
    payloads: bytes = b"", ops: bytes = b"", *, seed: int = 0, deadline: int = 0, flags: int = 1,
) -> bytes:  # fmt: skip
    """A program made by hand from the protocol's description."""
    tables = (strings, masks, cgroups, works, workers, payloads, ops)
    counts = [len(table) // size for table, size in zip(tables, (1, 64, 16, 208, 16, 40, 72), strict=True)]
    body = b"".join(map(padded, tables))
    head = struct.pack("<4sHHIIQQ7I", b"KTRP", 4, 64, 64 + len(body), flags, seed, deadline, *counts)
    return head + struct.pack("<I", crc32(head + body)) + body


def op(
    kind: int, on_error: int = 0, flags: int = 0, body: int = 0, who: tuple[int, ...] = (0, 0, 0, 0, 0), id: int = 0,
    mask: int = 0, path: int = 0, text: int = 0, count: int = 0, ns: int = 0, interval: int = 0, jitter: int = 0,
) -> bytes:  # fmt: skip
    return OP.pack(kind, on_error, flags, body, *who, id, mask, path, text, count, ns, interval, jitter)


def test_empty_program_is_its_header() -> None:
    assert encode(Program(7, 10**9)) == whole(seed=7, deadline=10**9)
    assert encode(Program(7, 10**9, cpu_controller=False)) == whole(seed=7, deadline=10**9, flags=0)


def test_the_tables_have_the_bytes_of_the_description() -> None:
    program = Program(
        1, 2,
        (Cgroup("a/b", (0, 64, 511), (0, 63)), Cgroup("c")),
        (
            Work("PipeIo", 1, (Worker(9, 2), Worker(8, 0, (1,))), (1024,), "fifo", 7, 0, (0, 64, 511)),
            Work(
                "SpinWait", -1, (Worker(7, 1),), policy="deadline", nice=-20, deadline=Deadline(1024, 1025, 1026),
                mem_policy=MemPolicy("bind", (0, 63), 1 << 15), threads=True, comm="w1", pcomm="p", pages=True,
                cgroup_namespace=True,
            ),
        ),
        (
            Payload(("/x", "-a"), 0, (1,), ("A=", "B=c"), "/f", "fifo", 9),
            Payload(("c",), policy="ext", nice=-3),
        ),
        controllers=("pids", "memory"),
    )  # fmt: skip
    assert encode(program) == whole(
        b"a/b\0c\0w1\0p\0/x\0-a\0A=\0B=c\0/f\0",
        mask(0, 64, 511) + mask(0, 63) + mask(1),
        struct.pack("<8I", 0, 1, 2, 0, 4, 0, 0, 0),
        WORK.pack(5, 1, 0, 2, 1024, *[0] * 15, 3, 7, 0, 1, *[0] * 9)
        + WORK.pack(1, -1, 2, 1, *[0] * 16, 5, 0, -20, 0, 1024, 1025, 1026, 2, 1 << 15, 2, 7, 7, 10),
        WORKER.pack(9, 2, 0) + WORKER.pack(8, 0, 3) + WORKER.pack(7, 1, 0),
        PAYLOAD.pack(11, 2, 0, 3, 17, 2, 25, 3, 9, 0) + PAYLOAD.pack(4, 1, -1, 0, 0, 0, 0, 6, 0, -3),
        seed=1,
        deadline=2,
        flags=1 | 2 | 8,
    )


def test_ops_have_the_bytes_of_the_description() -> None:
    ops: tuple[Op, ...] = (
        Hold(11),
        Scope((Write("/a", "/a", restore=True, on_error="record"), Scope((Hold(1),)), Hold(2)), 13, step=True),
        Release(Selector("backdrop", work=0, first_worker=1, workers=1)),
        StopWorkers(),
    )
    work = Work("SpinWait", -1, (Worker(),) * 2)
    assert encode(Program(0, 0, works=(work,), ops=ops)) == whole(
        b"/a\0",
        works=WORK.pack(1, -1, 0, 2, *[0] * 29),
        workers=WORKER.pack(0, 0, 0) + WORKER.pack(0, 1, 0),
        ops=op(6, ns=11)
        + op(10, flags=2, body=4, ns=13)
        + op(13, on_error=1, flags=1)
        + op(10, body=1, ns=5 * 10**9)
        + op(6, ns=1)
        + op(6, ns=2)
        + op(5, who=(1, -1, 0, 1, 1))
        + op(8, who=(0, -1, -1, 0, 0), ns=5 * 10**9),
    )


@settings(max_examples=200)
@given(programs())
def test_a_program_is_read_back_as_it_was(program: Program) -> None:
    data = encode(program)
    assert Reader(data).program() == program
    assert data == encode(program)


@given(programs())
def test_no_string_and_no_mask_is_there_twice(program: Program) -> None:
    reader = Reader(encode(program))
    masks = [reader.tables[1][at : at + 64] for at in range(0, len(reader.tables[1]), 64)]
    assert len(set(masks)) == len(masks)
    ops = list(flat(program.ops))
    single = {
        text for found in ops for name in ("path", "file", "text") if (text := getattr(found, name, None)) is not None
    }
    different: set[tuple[str, ...]] = {(text,) for text in single} | {(cgroup.name,) for cgroup in program.cgroups}
    different |= {payload.argv for payload in program.payloads} | {payload.env for payload in program.payloads}
    named = [payload.folder for payload in program.payloads]
    named += [name for work in program.works for name in (work.comm, work.pcomm)]
    different |= {(name,) for name in named if name}
    assert reader.counts[0] == sum(len(text.encode()) + 1 for texts in different for text in texts)


def test_workers_are_numbered_as_their_works_are_spawned() -> None:
    works = tuple(Work("SpinWait", -1, (Worker(10 * i), Worker(10 * i + 1))) for i in range(3))
    program = Program(0, 0, works=works, ops=(Spawn(2), Scope((Spawn(0),)), StopWorkers(), Spawn(2)))
    assert spawn_order(program) == (2, 0, 1)
    reader = Reader(encode(program))
    assert [row[0] for row in WORKER.iter_unpack(reader.tables[4])] == [20, 21, 0, 1, 10, 11]
    assert [row[1] for row in WORKER.iter_unpack(reader.tables[4])] == [0, 1, 2, 3, 4, 5]
    assert [row[2] for row in WORK.iter_unpack(reader.tables[3])] == [2, 4, 0]


@pytest.mark.parametrize("kind", get_args(Op), ids=lambda kind: kind.__name__)
def test_an_op_has_the_fields_that_the_agent_says_it_takes(kind: type[Op]) -> None:
    taken = [OP_FIELDS[field.name][0] for field in fields(kind) if field.name != "on_error"]
    assert sorted(taken) == sorted(OPS[kind.__name__].fields)


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 10**12), max_size=20))
def test_same_program_same_bytes(seed: int, holds: list[int]) -> None:
    def make() -> Program:
        return Program(seed, 10**12, ops=tuple(map(Hold, holds)))

    data = encode(make())
    assert data == encode(make())
    assert len(data) == 64 + 72 * len(holds)


def test_the_strings_have_a_limit_in_all() -> None:
    def many(count: int) -> Program:
        return Program(0, 0, ops=tuple(Write("/a", f"{i:04}" + "x" * 4091) for i in range(count)))

    encode(many(63))
    with pytest.raises(InputError, match="bytes of strings is 262147, expected 0 to 262144"):
        encode(many(64))


def test_different_masks_have_a_limit_in_number() -> None:
    def many(count: int) -> Program:
        pairs = list(islice(product(range(256), range(256, 512)), count))
        works = tuple(Work("SpinWait", -1, (Worker(),), affinity=cpus) for cpus in pairs[:4096])
        return Program(0, 0, works=works, ops=tuple(SetAffinity(EVERYTHING, cpus) for cpus in pairs[4096:]))

    assert Reader(encode(many(8192))).counts[1] == 8192
    with pytest.raises(InputError, match="number of different masks of CPUs or nodes is 8193, expected 0 to 8192"):
        encode(many(8193))
