"""BPF Type Format read as hostile input: an index of one blob, whose records are decoded when asked for.

The format is Documentation/bpf/btf.rst. A kernel's blob comes from its cache entry, a BPF program's out of guest
memory; of both every size, offset and id is checked before use.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAX_BYTES = 128 << 20
_MAGIC, _VERSION = 0xEB9F, 1
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")  # name, info, size or type
_MAX_NAME = 4096


class Kind(IntEnum):
    """BTF_KIND_* of include/uapi/linux/btf.h."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# Bytes behind a record's first 12: once, and for each of its vlen members.
_ONCE = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}
_EACH = {
    Kind.STRUCT: 12, Kind.UNION: 12, Kind.ENUM: 8, Kind.FUNC_PROTO: 8, Kind.DATASEC: 12, Kind.ENUM64: 12,
}  # fmt: skip
_NAMELESS = frozenset({Kind.FWD, Kind.DECL_TAG, Kind.TYPE_TAG})


class BadBtf(ValueError):
    """The bytes are no BTF that can be used; the text says why."""


@dataclass(frozen=True)
class Record:
    """One type. ``size_or_type``: bytes, or the id of another type, as its kind has it; ``rows``: its members."""

    id: int
    kind: Kind
    name: str
    flag: bool
    size_or_type: int
    rows: memoryview


@dataclass(frozen=True)
class Enumerator:
    name: str
    value: int


class Btf:
    """One BTF blob. Raises BadBtf when its header or any record does not fit in it."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise BadBtf(f"{len(data)} bytes, expected at most {MAX_BYTES}")
        try:
            magic, version, _flags, header, types_at, types_size, strings_at, strings_size = _HEADER.unpack_from(data)
        except struct.error:
            raise BadBtf(f"{len(data)} bytes, expected a header of {_HEADER.size}") from None
        if (magic, version) != (_MAGIC, _VERSION) or header < _HEADER.size:
            raise BadBtf(f"magic {magic:#x} version {version}, expected {_MAGIC:#x} version {_VERSION}")
        self._types = _part(data, header + types_at, types_size, "types")
        self._strings = bytes(_part(data, header + strings_at, strings_size, "strings"))
        self._offsets = array("I")
        self._named: dict[int, list[int]] = {}
        self._scan()
        self._string_offsets: dict[str, int | None] = {}

    def _scan(self) -> None:
        """Where each record begins, and which records have which name. Runs over 100,000 records of a kernel."""
        data, at, end = self._types, 0, len(self._types)
        unpack, add, named = struct.Struct("<II").unpack_from, self._offsets.append, self._named
        once = [_ONCE.get(Kind(kind), 0) + _TYPE.size for kind in range(len(Kind))]
        each = [_EACH.get(Kind(kind), 0) for kind in range(len(Kind))]
        type_id = 1
        while at + _TYPE.size <= end:
            name, info = unpack(data, at)
            kind = info >> 24 & 0x1F
            if not 1 <= kind < len(once):
                raise BadBtf(f"type {type_id} is of kind {kind}, expected 1 to {len(once) - 1}")
            add(at)
            if name and kind not in _NAMELESS:
                named.setdefault(name, []).append(type_id)
            at += once[kind] + (info & 0xFFFF) * each[kind]
            type_id += 1
        if at != end:
            raise BadBtf(f"type {type_id - 1} ends at {at}, beyond the {end} bytes of types")

    def __len__(self) -> int:
        return len(self._offsets)

    def string(self, offset: int) -> str:
        """The name at an offset of the string table. Raises BadBtf."""
        end = self._strings.find(b"\0", offset, offset + _MAX_NAME) if offset < len(self._strings) else -1
        if end < 0:
            raise BadBtf(f"a name lies at {offset}, beyond the {len(self._strings)} bytes of names, or has no end")
        return self._strings[offset:end].decode("utf-8", "replace")

    def ids(self, name: str) -> list[int]:
        """Every type, function and variable with this name, in order."""
        offset = self._string_offset(name)
        return [] if offset is None else self._named.get(offset, [])

    def _string_offset(self, name: str) -> int | None:
        """Where a name is among the strings, each of which is there once. A linear search: remembered."""
        if name not in self._string_offsets:
            at = self._strings.find(b"\0" + name.encode() + b"\0")
            self._string_offsets[name] = at + 1 if at >= 0 else None
        return self._string_offsets[name]

    def record(self, type_id: int) -> Record:
        """Raises BadBtf for an id that there is not."""
        if not 1 <= type_id <= len(self._offsets):
            raise BadBtf(f"type {type_id} is named, of {len(self._offsets)} there are")
        at = self._offsets[type_id - 1]
        name, info, size = _TYPE.unpack_from(self._types, at)
        kind = Kind(info >> 24 & 0x1F)
        end = self._offsets[type_id] if type_id < len(self._offsets) else len(self._types)
        rows = self._types[at + _TYPE.size : end]
        return Record(type_id, kind, self.string(name) if name else "", bool(info >> 31), size, rows)

    def enumerators(self, record: Record) -> list[Enumerator]:
        """Of a record of kind ENUM or ENUM64. Raises BadBtf."""
        return [Enumerator(self.string(name), value) for name, value in _values(record)]

    def constant(self, name: str) -> tuple[Record, int] | None:
        """The first enum that has an enumerator of this name, and its value; None when none has. Raises BadBtf."""
        offset = self._string_offset(name)
        found = self._constants.get(offset) if offset is not None else None
        return None if found is None else (self.record(found[0]), found[1])

    @property
    def _constants(self) -> dict[int, tuple[int, int]]:
        """By the offset of their name: type and value of every enumerator. The first use scans every record."""
        if not hasattr(self, "_all_constants"):
            self._all_constants: dict[int, tuple[int, int]] = {}
            for type_id, at in enumerate(self._offsets, 1):
                if self._types[at + 7] & 0x1F in (Kind.ENUM, Kind.ENUM64):
                    for name, value in _values(self.record(type_id)):
                        self._all_constants.setdefault(name, (type_id, value))
        return self._all_constants


def _part(data: bytes, offset: int, size: int, what: str) -> memoryview:
    if offset + size > len(data):
        raise BadBtf(f"{what} lie at {offset}..{offset + size}, beyond its {len(data)} bytes")
    return memoryview(data)[offset : offset + size]


def _values(record: Record) -> Iterator[tuple[int, int]]:
    """Offset of the name, and value, of each enumerator."""
    if record.kind is Kind.ENUM:
        yield from struct.iter_unpack("<Ii" if record.flag else "<II", record.rows)
        return
    for name, low, high in struct.iter_unpack("<III", record.rows):
        value = high << 32 | low
        yield name, value - (1 << 64) if record.flag and high >> 31 else value
