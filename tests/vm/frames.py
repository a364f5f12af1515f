"""Frames made by hand, from the protocol's description alone: nothing here is read from the header."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from zlib import crc32

HELLO, CPU, DISTANCES, SCHED_EVENT, SCHED_LOG, SCHED_KMSG, STIMULUS = range(1, 8)
WORKER, MIGRATIONS, SAMPLES, VCPU, ERROR, END, READY = range(8, 15)
UNPARKED, BEGIN, SCHED_PRINTK, SCHED_REFUSAL, PAGES = range(20, 25)
CHECKPOINT, READ, PAYLOAD_EVENT, PAYLOAD_LOG, DELAYS = range(15, 20)
SCHED_DUMP = 30
CPU_LISTS, NODE = 40, 41


def frame(type_: int, seq: int, payload: bytes) -> bytes:
    head = struct.pack("<4sHHII", b"KTRF", type_, 0, seq, len(payload))
    return head + struct.pack("<I", crc32(head + payload)) + payload


def stream(messages: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(frame(type_, seq, payload) for seq, (type_, payload) in enumerate(messages))


def mask(*cpus: int) -> bytes:
    return sum(1 << cpu for cpu in cpus).to_bytes(64, "little")


def hello(release: bytes = b"6.14.0", version: int = 4) -> tuple[int, bytes]:
    return HELLO, struct.pack("<II72s", version, 4, release)


def cpu(number: int, llc: tuple[int, ...] = (), smt: tuple[int, ...] = ()) -> tuple[int, bytes]:
    return CPU, struct.pack("<IiiI", number, 1, 2, 0) + mask(*llc) + mask(*smt)


def distances(node: int, *row: int) -> tuple[int, bytes]:
    return DISTANCES, struct.pack("<II64I", node, len(row), *row, *([0] * (64 - len(row))))


def cpu_lists(possible: tuple[int, ...], present: tuple[int, ...]) -> tuple[int, bytes]:
    return CPU_LISTS, mask(*possible) + mask(*present)


def node(number: int, memory_kib: int, *initiators: int) -> tuple[int, bytes]:
    return NODE, struct.pack("<IIQQ", number, 0, memory_kib, sum(1 << other for other in initiators))


def event(at: int, kind: int, code: int, text: bytes = b"") -> tuple[int, bytes]:
    return SCHED_EVENT, struct.pack("<QIi", at, kind, code) + text


def refusal(
    outcome: int = 1, command: int = 5, *, error: int = 13, alike: int = 1, name: bytes = b"dispatch", text: bytes = b""
) -> tuple[int, bytes]:
    head = struct.pack("<QIIiIII16s", 7, outcome, command, error, 41, alike, 0, name)
    return SCHED_REFUSAL, head + text


def begin(tsc: int = 1 << 40) -> tuple[int, bytes]:
    return BEGIN, struct.pack("<Q", tsc)


def stimulus(
    at: int, kind: int, iterations: int, detail: bytes = b"", *, op: int = 3, scope: int = 2, iteration: int = 0
) -> tuple[int, bytes]:
    return STIMULUS, struct.pack("<QQIIII", at, iterations, kind, op, scope, iteration) + detail


def error(text: bytes = b"", op: int = -1, recorded: int = 0) -> tuple[int, bytes]:
    return ERROR, struct.pack("<iI", op, recorded) + text


def worker(
    index: int = 0, *, spawn: int = 0, work: int = 5, cgroup: int = -1, migrations: int = 0, samples: int = 0,
    schedstat: int = 1, completed: int = 1, exit_kind: int = 0, exit_code: int = 0, gap_cpu: int = 3,
    stall_cpu: int = 4, requests: int = 0,
) -> tuple[int, bytes]:  # fmt: skip
    """A report whose numbers are all different: work_units 101, iterations 102, and so on."""
    head = struct.pack("<IIIiiI15Q", index, spawn, work, cgroup, 77, 6, *range(101, 116))
    numbers = (gap_cpu, stall_cpu, migrations, samples, schedstat, completed, exit_kind, exit_code)
    counts = (*range(301, 309), 309, requests, 0)
    return WORKER, head + mask(0, 3, 511) + struct.pack("<IIIIIIIi", *numbers) + struct.pack("<9QII", *counts)


def progress(worker: int = 0, spawn: int = 0) -> bytes:
    """One worker's share of a checkpoint: iterations 201, work_units 202, and so on."""
    return struct.pack("<II6Q", worker, spawn, *range(201, 207))


def checkpoint(
    *workers: bytes, at: int = 7, phase: int = 4, op: int = 3, count: int | None = None
) -> tuple[int, bytes]:
    head = struct.pack("<QIIII", at, phase, op, len(workers) if count is None else count, 0)
    return CHECKPOINT, head + b"".join(workers)


def read(text: bytes = b"", at: int = 7, op: int = 3, size: int | None = None) -> tuple[int, bytes]:
    return READ, struct.pack("<QII", at, op, len(text) if size is None else size) + text


def payload_event(at: int = 7, payload: int = 1, kind: int = 1, code: int = 0) -> tuple[int, bytes]:
    return PAYLOAD_EVENT, struct.pack("<QIIiI", at, payload, kind, code, 0)


def payload_log(payload: int = 1, text: bytes = b"", stream: int = 1) -> tuple[int, bytes]:
    return PAYLOAD_LOG, struct.pack("<II", payload, stream) + text


def delays(*drawn: tuple[int, int], seen: int | None = None, count: int | None = None) -> tuple[int, bytes]:
    number = len(drawn) if count is None else count
    head = struct.pack("<II", number, number if seen is None else seen)
    return DELAYS, head + b"".join(struct.pack("<IIQ", op, 0, ns) for op, ns in drawn)


def migrations(index: int, *items: tuple[int, int, int]) -> tuple[int, bytes]:
    return MIGRATIONS, struct.pack("<II", index, len(items)) + b"".join(struct.pack("<QII", *item) for item in items)


def samples(index: int, *items: int, series: int = 0) -> tuple[int, bytes]:
    return SAMPLES, struct.pack(f"<IIII{len(items)}Q", index, series, len(items), 0, *items)


def pages(index: int, *nodes: int, migrated: int = 0, count: int | None = None) -> tuple[int, bytes]:
    number = len(nodes) if count is None else count
    return PAGES, struct.pack(f"<IIQ{len(nodes)}Q", index, number, migrated, *nodes)


def vcpu(number: int) -> tuple[int, bytes]:
    return VCPU, struct.pack("<IIQQQ", number, 0, 11, 12, 13)


def end(at: int = 99, status: int = 0) -> tuple[int, bytes]:
    return END, struct.pack("<QII", at, status, 0)


def unparked(payload: bytes) -> tuple[int, bytes]:
    return UNPARKED, payload


def ready(payload: bytes = b"") -> tuple[int, bytes]:
    return READY, payload
