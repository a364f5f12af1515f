"""Frames made by hand, from the protocol's description alone: nothing here is read from the header."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from zlib import crc32

HELLO, CPU, DISTANCES, SCHED_EVENT, SCHED_LOG, SCHED_KMSG, STIMULUS = range(1, 8)
WORKER, MIGRATIONS, SAMPLES, VCPU, ERROR, END, READY = range(8, 15)


def frame(type_: int, seq: int, payload: bytes) -> bytes:
    head = struct.pack("<4sHHII", b"KTRF", type_, 0, seq, len(payload))
    return head + struct.pack("<I", crc32(head + payload)) + payload


def stream(messages: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(frame(type_, seq, payload) for seq, (type_, payload) in enumerate(messages))


def mask(*cpus: int) -> bytes:
    return sum(1 << cpu for cpu in cpus).to_bytes(64, "little")


def hello(release: bytes = b"6.14.0", version: int = 1) -> tuple[int, bytes]:
    return HELLO, struct.pack("<II72s", version, 4, release)


def cpu(number: int, llc: tuple[int, ...] = (), smt: tuple[int, ...] = ()) -> tuple[int, bytes]:
    return CPU, struct.pack("<IiiI", number, 1, 2, 0) + mask(*llc) + mask(*smt)


def distances(node: int, *row: int) -> tuple[int, bytes]:
    return DISTANCES, struct.pack("<II64I", node, len(row), *row, *([0] * (64 - len(row))))


def event(at: int, kind: int, code: int, text: bytes = b"") -> tuple[int, bytes]:
    return SCHED_EVENT, struct.pack("<QIi", at, kind, code) + text


def stimulus(at: int, op: int, iterations: int, detail: bytes = b"") -> tuple[int, bytes]:
    return STIMULUS, struct.pack("<QQII", at, iterations, op, 0) + detail


def worker(
    index: int = 0, *, migrations: int = 0, samples: int = 0, schedstat: int = 1, completed: int = 1,
    exit_kind: int = 0, exit_code: int = 0, gap_cpu: int = 3,
) -> tuple[int, bytes]:  # fmt: skip
    """A report whose numbers are all different: work_units 101, iterations 102, and so on."""
    head = struct.pack("<IIii13Q", index, 5, -1, 77, *range(101, 114))
    return WORKER, head + mask(0, 3, 511) + struct.pack(
        "<IIIIIIIi", gap_cpu, 4, migrations, samples, schedstat, completed, exit_kind, exit_code
    )


def migrations(index: int, *items: tuple[int, int, int]) -> tuple[int, bytes]:
    return MIGRATIONS, struct.pack("<II", index, len(items)) + b"".join(struct.pack("<QII", *item) for item in items)


def samples(index: int, *items: int) -> tuple[int, bytes]:
    return SAMPLES, struct.pack(f"<II{len(items)}Q", index, len(items), *items)


def vcpu(number: int) -> tuple[int, bytes]:
    return VCPU, struct.pack("<IIQQQ", number, 0, 11, 12, 13)


def end(at: int = 99, status: int = 0) -> tuple[int, bytes]:
    return END, struct.pack("<QII", at, status, 0)


def ready(payload: bytes = b"") -> tuple[int, bytes]:
    return READY, payload
