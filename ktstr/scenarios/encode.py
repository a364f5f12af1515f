"""A program as the bytes the guest agent reads; the layout is in ``ktstr_program.h``.

The same program always gives the same bytes: they are part of a cell's key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any
from zlib import crc32

from ktstr.scenarios.program import MemPolicy, Op, Payload, Program, Repeat, Scope, Selector, Work, spawn_order
from ktstr.scenarios.verify import verify
from ktstr.scenarios.verify_tables import bounded, utf8
from ktstr.vm.protocol import MEM_POLICIES, ON_ERRORS, OPS, POLICIES, SCOPES, WORK_TYPES, ffi, lib

_CONTROLLERS = {
    "memory": lib.KTSTR_PROGRAM_MEMORY_CONTROLLER,
    "io": lib.KTSTR_PROGRAM_IO_CONTROLLER,
    "pids": lib.KTSTR_PROGRAM_PIDS_CONTROLLER,
}
_WORK_FLAGS = {
    "threads": lib.KTSTR_WORK_THREADS,
    "cgroup_namespace": lib.KTSTR_WORK_CGROUP_NAMESPACE,
    "pages": lib.KTSTR_WORK_PAGES,
}

# Fields of an op, and what each is called in ops.def and in struct ktstr_op.
OP_FIELDS = {
    "payload": ("PAYLOAD", "id"),
    "cgroup": ("CGROUP", "id"),
    "work": ("WORK", "id"),
    "phase": ("PHASE", "id"),
    "who": ("WHO", "who"),
    "cpus": ("MASK", "mask"),
    "path": ("PATH", "path"),
    "file": ("FILE", "path"),
    "text": ("TEXT", "text"),
    "restore": ("RESTORE", "flags"),
    "step": ("STEP", "flags"),
    "body": ("BODY", "body"),
    "count": ("COUNT", "count"),
    "duration_ns": ("NS", "ns"),
    "timeout_ns": ("NS", "ns"),
    "interval_ns": ("INTERVAL", "interval_ns"),
    "jitter_ns": ("JITTER", "jitter_ns"),
}


def encode(program: Program) -> bytes:
    """The program's bytes.

    Raises InputError, naming the op or the entry of a table, its field and the limit, when the agent would refuse it.
    """
    verify(program)
    tables = _Tables()
    order = spawn_order(program)
    first_workers = _first_workers(program, order)
    for cgroup in program.cgroups:
        name = tables.string(cgroup.name)
        tables.add("cgroup", {"name": name, "cpus": tables.mask(cgroup.cpus), "mems": tables.mask(cgroup.mems)})
    for index, work in enumerate(program.works):
        tables.add("work", _work(work, first_workers[index], tables))
    for index in order:
        for place, worker in enumerate(program.works[index].workers, first_workers[index]):
            released = place if worker.order is None else worker.order
            affinity = tables.mask(worker.affinity)
            tables.add("worker", {"start_offset_ns": worker.start_offset_ns, "order": released, "affinity": affinity})
    for payload in program.payloads:
        tables.add("payload", _payload(payload, tables))
    _add_ops(program.ops, tables)
    flags = sum(_CONTROLLERS[name] for name in program.controllers)
    return _whole(program, tables, flags | (lib.KTSTR_PROGRAM_CPU_CONTROLLER if program.cpu_controller else 0))


class _Tables:
    """The tables as they grow. What was there already, a string or a mask, is not added again."""

    def __init__(self) -> None:
        self._strings = bytearray()
        self._offsets: dict[bytes, int] = {}
        self._masks: dict[int, int] = {}
        self._rows: dict[str, list[Any]] = {name: [] for name in ("cgroup", "work", "worker", "payload", "op")}

    def string(self, *texts: str) -> int:
        """The offset of these strings, one after the other."""
        data = b"".join(utf8("string", text) + b"\0" for text in texts)
        if data not in self._offsets:
            self._offsets[data] = len(self._strings)
            self._strings += data
        return self._offsets[data]

    def name(self, text: str) -> int:
        """What a field holds for a string that may be left out: its offset plus 1, or 0 for an empty one."""
        return self.string(text) + 1 if text else 0

    def mask(self, numbers: Iterable[int] | None) -> int:
        """What a field holds for this mask of CPUs or nodes: its place plus 1, or 0 for None."""
        if numbers is None:
            return 0
        bits = sum(1 << number for number in set(numbers))
        return self._masks.setdefault(bits, len(self._masks) + 1)

    def add(self, table: str, values: dict[str, Any]) -> None:
        """One more entry, of the struct of that name."""
        self._rows[table].append(values)

    def finish(self) -> tuple[tuple[int, ...], bytes]:
        """How many entries each table has, and all of them, padded, in the order of enum ktstr_table.

        Raises InputError when the strings or the masks are too many.
        """
        bounded("bytes of strings", len(self._strings), 0, lib.KTSTR_MAX_STRING_BYTES)
        bounded("number of different masks of CPUs or nodes", len(self._masks), 0, lib.KTSTR_MAX_MASKS)
        masks = b"".join(bits.to_bytes(ffi.sizeof("struct ktstr_cpumask"), "little") for bits in self._masks)
        tables = [bytes(self._strings), masks, *(_array(name, rows) for name, rows in self._rows.items())]
        counts = (len(self._strings), len(self._masks), *map(len, self._rows.values()))
        return counts, b"".join(table + bytes(-len(table) % 8) for table in tables)


def _array(name: str, rows: Sequence[dict[str, Any]]) -> bytes:
    return bytes(ffi.buffer(ffi.new(f"struct ktstr_{name}[]", rows)))


def _first_workers(program: Program, order: Sequence[int]) -> dict[int, int]:
    """The number of the first worker of each work."""
    firsts, number = {}, 0
    for index in order:
        firsts[index] = number
        number += len(program.works[index].workers)
    return firsts


def _work(work: Work, first_worker: int, tables: _Tables) -> dict[str, Any]:
    return {
        "type": WORK_TYPES[work.type],
        "cgroup": work.cgroup,
        "first_worker": first_worker,
        "worker_count": len(work.workers),
        "params": list(work.params),
        "policy": POLICIES[work.policy],
        "priority": work.priority,
        "nice": work.nice,
        "affinity": tables.mask(work.affinity),
        **({} if work.deadline is None else asdict(work.deadline)),
        **({} if work.mem_policy is None else _mem_policy(work.mem_policy, tables)),
        "flags": sum(flag for name, flag in _WORK_FLAGS.items() if getattr(work, name)),
        "comm": tables.name(work.comm),
        "pcomm": tables.name(work.pcomm),
    }


def _mem_policy(policy: MemPolicy, tables: _Tables) -> dict[str, int]:
    return {
        "mem_policy": MEM_POLICIES[policy.mode],
        "mem_flags": policy.flags,
        "mem_nodes": tables.mask(policy.nodes),
    }


def _payload(payload: Payload, tables: _Tables) -> dict[str, Any]:
    return {
        "argv": tables.string(*payload.argv),
        "argc": len(payload.argv),
        "cgroup": payload.cgroup,
        "affinity": tables.mask(payload.affinity),
        "env": tables.string(*payload.env) if payload.env else 0,
        "envc": len(payload.env),
        "folder": tables.name(payload.folder),
        "policy": POLICIES[payload.policy],
        "priority": payload.priority,
        "nice": payload.nice,
    }


def _add_ops(ops: tuple[Op, ...], tables: _Tables) -> int:
    """Add them, with what is inside of them; gives how many that are."""
    added = 0
    for op in ops:
        values = _op(op, tables)
        tables.add("op", values)
        if isinstance(op, (Scope, Repeat)):
            values["body"] = _add_ops(op.body, tables)
        added += 1 + values.get("body", 0)
    return added


def _op(op: Op, tables: _Tables) -> dict[str, Any]:
    """What its struct holds, but for the length of its body. A field that the op does not take stays zero."""
    values: dict[str, Any] = {"kind": OPS[type(op).__name__], "on_error": ON_ERRORS[op.on_error]}
    for field in fields(op):
        value = getattr(op, field.name)
        match field.name:
            case "on_error" | "body":
                continue
            case "who":
                value = _selector(value)
            case "cpus":
                value = tables.mask(value)
            case "path" | "file" | "text":
                value = tables.string(value)
            case "step":
                value = lib.KTSTR_OP_FLAG_STEP if value else 0
            case "restore":
                value = lib.KTSTR_OP_FLAG_RESTORE if value else 0
        values[OP_FIELDS[field.name][1]] = value
    return values


def _selector(who: Selector) -> dict[str, int]:
    return {
        "scope": SCOPES[who.scope],
        "cgroup": -1 if who.cgroup is None else who.cgroup,
        "work": -1 if who.work is None else who.work,
        "first_worker": who.first_worker,
        "worker_count": who.workers,
    }


def _whole(program: Program, tables: _Tables, flags: int) -> bytes:
    counts, body = tables.finish()
    header = ffi.new("struct ktstr_program_header *")
    header.magic = lib.KTSTR_PROGRAM_MAGIC
    header.version = lib.KTSTR_PROTO_VERSION
    header.header_bytes = ffi.sizeof(header[0])
    header.total_bytes = header.header_bytes + len(body)  # whole tables are less than KTSTR_MAX_PROGRAM_BYTES
    header.flags = flags
    header.seed = program.seed
    header.deadline_ns = program.deadline_ns
    header.counts = list(counts)
    before_crc = ffi.offsetof("struct ktstr_program_header", "crc")
    header.crc = crc32(body, crc32(bytes(ffi.buffer(header))[:before_crc]))
    return bytes(ffi.buffer(header)) + body
