"""A flat program as the bytes the guest agent reads; the layout is in ``ktstr_proto.h``.

The same program always gives the same bytes: they are part of a cell's key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from ktstr.errors import InputError
from ktstr.record import vocabulary
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
)
from ktstr.vm.protocol import OPS, POLICIES, WORK_TYPES, ffi, lib

_NAME_PART = re.compile(r"(?!\.)[!-.0-~]{1,64}")
_U32 = 2**32


def encode(program: Program, *, cpu_controller: bool = True) -> bytes:
    """The program's bytes. ``cpu_controller`` also enables the cgroup cpu controller, where there is one.

    Raises InputError naming the op and the limit when the agent would refuse it.
    """
    scan = _Scan()
    if len(program.ops) > lib.KTSTR_MAX_OPS:
        raise InputError(f"scenario has {len(program.ops)} steps, expected at most {lib.KTSTR_MAX_OPS}")
    body = b"".join(_encode_op(op, scan) for op in program.ops)
    header = ffi.new("struct ktstr_program_header *")
    header.magic = lib.KTSTR_PROGRAM_MAGIC
    header.version = lib.KTSTR_PROTO_VERSION
    header.header_bytes = ffi.sizeof(header[0])
    header.total_bytes = _bounded("program bytes", header.header_bytes + len(body), 0, lib.KTSTR_MAX_PROGRAM_BYTES)
    header.op_count = len(program.ops)
    header.seed = _bounded("seed", program.seed, 0, 2**64 - 1)
    header.deadline_ns = _ns("deadline", program.deadline_ns)
    header.flags = lib.KTSTR_PROGRAM_CPU_CONTROLLER if cpu_controller else 0
    before_crc = ffi.offsetof("struct ktstr_program_header", "crc")
    header.crc = crc32(body, crc32(_bytes(header)[:before_crc]))
    return _bytes(header) + body


class _Scan:
    """What the ops seen so far have made, for limits that span ops."""

    def __init__(self) -> None:
        self.cgroups: list[str] = []
        self.inhabited: set[str] = set()
        self.workers = 0
        self.released = 0
        self.scheduler = False


def _bytes(struct: Any) -> bytes:
    return bytes(ffi.buffer(struct))


def _pad8(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _bounded(what: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise InputError(f"{what} is {value}, expected {low} to {high}")
    return value


def _ns(what: str, value: int) -> int:
    return _bounded(f"{what} in ns", value, 0, lib.KTSTR_MAX_NS)


def _fill_mask(mask: Any, cpus: Iterable[int], what: str) -> None:
    words = [0] * lib.KTSTR_CPUMASK_WORDS
    for cpu in cpus:
        _bounded(f"{what}: CPU", cpu, 0, lib.KTSTR_MAX_CPUS - 1)
        words[cpu // 64] |= 1 << cpu % 64
    if not any(words):
        raise InputError(f"{what} holds no CPU, expected at least one")
    mask.bits = words


def _encode_op(op: Op, scan: _Scan) -> bytes:
    payload = _payload(op, scan)
    header = ffi.new("struct ktstr_op_header *", {"kind": OPS[type(op).__name__], "bytes": len(payload)})
    return _bytes(header) + payload


def _payload(op: Op, scan: _Scan) -> bytes:
    match op:
        case StartScheduler():
            return _start_scheduler(op, scan)
        case StopScheduler():
            scan.scheduler = False
            return _time("scheduler stop timeout", op.timeout_ns)
        case AddCgroup():
            return _add_cgroup(op, scan)
        case Spawn():
            return _spawn(op, scan)
        case Release():
            return _release(op, scan)
        case Hold():
            return _time("hold", op.duration_ns)
        case Delay():
            return _time("delay", op.duration_ns)
        case StopWorkers():
            scan.released = scan.workers
            return _time("worker stop timeout", op.timeout_ns)
        case RemoveCgroups():
            return b""


def _time(what: str, ns: int) -> bytes:
    return _bytes(ffi.new("struct ktstr_op_time *", {"ns": _ns(what, ns)}))


def _start_scheduler(op: StartScheduler, scan: _Scan) -> bytes:
    if scan.scheduler:
        raise InputError("scenario starts a second scheduler before it stops the first")
    scan.scheduler = True
    _bounded("scheduler arguments", len(op.argv), 1, lib.KTSTR_MAX_ARGS)
    if not op.argv[0] or any("\0" in arg for arg in op.argv):
        raise InputError("scheduler arguments: found an empty program name or a NUL, expected neither")
    argv = b"".join(arg.encode() + b"\0" for arg in op.argv)
    _bounded("bytes of scheduler arguments", len(argv), 1, lib.KTSTR_MAX_ARG_BYTES)
    start = ffi.new("struct ktstr_op_start_scheduler *")
    start.attach_timeout_ns = _ns("attach timeout", op.attach_timeout_ns)
    start.argc = len(op.argv)
    start.argv_bytes = len(argv)
    return _bytes(start) + _pad8(argv)


def _add_cgroup(op: AddCgroup, scan: _Scan) -> bytes:
    name = op.name.encode()
    if len(name) >= lib.KTSTR_CGROUP_NAME_BYTES or not all(map(_NAME_PART.fullmatch, op.name.split("/"))):
        raise InputError(
            f"cgroup name {op.name!r}: expected parts of 1 to 64 printable ASCII characters joined by '/', none"
            f" beginning with '.', {lib.KTSTR_CGROUP_NAME_BYTES - 1} bytes in all"
        )
    _bounded("number of cgroups", len(scan.cgroups) + 1, 1, lib.KTSTR_MAX_CGROUPS)
    scan.cgroups.append(op.name)
    add = ffi.new("struct ktstr_op_add_cgroup *")
    add.name = name
    if op.cpus is not None:
        add.has_cpus = 1
        _fill_mask(add.cpus, op.cpus, f"cpuset of cgroup {op.name}")
    return _bytes(add)


def _spawn(op: Spawn, scan: _Scan) -> bytes:
    what = f"{op.work_type} workers (work {op.work_index})"
    _check_counts(op, what)
    scan.workers = _bounded("number of workers", scan.workers + len(op.workers), 1, lib.KTSTR_MAX_WORKERS)
    spawn = ffi.new("struct ktstr_op_spawn *")
    spawn.cgroup = _bounded(f"cgroup of {what}", op.cgroup, -1, len(scan.cgroups) - 1)
    if op.cgroup >= 0:
        _inhabit(scan.cgroups[op.cgroup], scan)
    spawn.work_index = _bounded("work index", op.work_index, 0, _U32 - 1)
    spawn.work_type = WORK_TYPES[op.work_type]
    spawn.worker_count = len(op.workers)
    for i, param in enumerate(op.params):
        spawn.params[i] = _ns(f"parameter {i} of {what}", param)
    realtime = vocabulary.POLICIES[op.policy].has_priority
    spawn.policy = POLICIES[op.policy]
    spawn.priority = _bounded(
        f"priority of {what} under policy {op.policy}",
        op.priority,
        1 if realtime else 0,
        vocabulary.MAX_PRIORITY if realtime else 0,
    )
    spawn.nice = _bounded(f"nice of {what}", op.nice, -20, 19)
    if op.affinity is not None:
        spawn.has_affinity = 1
        _fill_mask(spawn.affinity, op.affinity, f"affinity of {what}")
    offsets = [_ns(f"start offset of {what}", worker.start_offset_ns) for worker in op.workers]
    return _bytes(spawn) + _bytes(ffi.new("uint64_t[]", offsets))


def _inhabit(name: str, scan: _Scan) -> None:
    """cgroup v2: a cgroup whose children have controllers holds no tasks beside theirs (no internal processes)."""
    for other in scan.inhabited:
        outer, inner = sorted((name, other), key=len)
        if inner.startswith(outer + "/"):
            raise InputError(f"cgroups {outer} and {inner} both hold workers, expected only the innermost to hold any")
    scan.inhabited.add(name)


def _check_counts(op: Spawn, what: str) -> None:
    if op.work_type not in WORK_TYPES or op.policy not in POLICIES:
        raise InputError(f"{what}: unknown work type or policy {op.policy!r}, expected one of {', '.join(WORK_TYPES)}")
    facts = vocabulary.WORK_TYPES[op.work_type]
    if not op.workers or len(op.workers) % facts.group_size:
        raise InputError(f"{len(op.workers)} {what}: expected a positive multiple of {facts.group_size}")
    if len(op.params) != len(facts.params):
        raise InputError(f"{what}: found {len(op.params)} parameters, expected {len(facts.params)}")


def _release(op: Release, scan: _Scan) -> bytes:
    blocked = range(scan.released, scan.workers)
    if sorted(op.order) != list(blocked):
        raise InputError(
            f"release order names {len(op.order)} workers, expected each of the {len(blocked)} blocked ones once"
        )
    scan.released = scan.workers
    release = ffi.new("struct ktstr_op_release *", {"count": len(op.order)})
    return _bytes(release) + _pad8(_bytes(ffi.new("uint32_t[]", list(op.order))))
