"""Where members of the kernel's structures lie: resolved once from BTF, for reads that need no objects."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ktstr.introspect.btf import Btf, Kind, Record

_MODIFIERS = frozenset({Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPEDEF, Kind.TYPE_TAG})
_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_MAX_DEPTH = 32


class NoMember(ValueError):
    """This kernel has no such structure or member; the text says which."""


@dataclass(frozen=True)
class Member:
    """``offset`` and ``size`` in bytes; ``size`` is 0 where the type has none of its own."""

    offset: int
    size: int
    type_id: int


class Members:
    """Structures of one BTF. Raises NoMember, BadBtf."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._found: dict[tuple[str, str], Member | None] = {}

    def size(self, name: str) -> int:
        return self._structure(name).size_or_type

    def has(self, name: str, path: str) -> bool:
        return self._known(name, path) is not None

    def offset(self, name: str, path: str) -> int:
        return self.member(name, path).offset

    def member(self, name: str, path: str) -> Member:
        """The member at a dotted ``path`` of ``struct name``, through structures that are part of it."""
        found = self._known(name, path)
        if found is None:
            raise NoMember(f"this kernel has no {path} in a struct {name}")
        return found

    def _known(self, name: str, path: str) -> Member | None:
        """The same, remembered."""
        if (name, path) not in self._found:
            self._found[name, path] = self._resolved(name, path)
        return self._found[name, path]

    def _resolved(self, name: str, path: str) -> Member | None:
        try:
            record, offset = self._structure(name), 0
        except NoMember:
            return None
        found = Member(0, record.size_or_type, record.id)
        for part in path.split("."):
            within = self._find(record, part, 0)
            if within is None:
                return None
            offset += within.offset
            found = Member(offset, within.size, within.type_id)
            record = self._plain(within.type_id)
        return found

    def names(self, name: str) -> tuple[str, ...]:
        """Of the members of ``struct name``, in order; without those of nameless parts."""
        rows = self._rows(self._structure(name))
        return tuple(self._btf.string(row[0]) for row in rows if row[0])

    def _structure(self, name: str) -> Record:
        for type_id in self._btf.ids(name):
            record = self._btf.record(type_id)
            if record.kind in _COMPOSITE:
                return record
        raise NoMember(f"this kernel has no struct {name}")

    def _rows(self, record: Record) -> list[tuple[int, int, int]]:
        if record.kind not in _COMPOSITE:
            return []
        return list(struct.iter_unpack("<III", record.rows))

    def _find(self, record: Record, name: str, depth: int) -> Member | None:
        for name_at, type_id, place in self._rows(record):
            bits = place & 0xFFFFFF if record.flag else place
            inner = self._plain(type_id)
            if name_at and self._btf.string(name_at) == name:
                return Member(bits // 8, inner.size_or_type if inner.kind is not Kind.PTR else 8, type_id)
            if not name_at and depth < _MAX_DEPTH:
                found = self._find(inner, name, depth + 1)
                if found is not None:
                    return Member(bits // 8 + found.offset, found.size, found.type_id)
        return None

    def _plain(self, type_id: int) -> Record:
        """The type without its qualifiers and other names."""
        for _ in range(_MAX_DEPTH):
            record = self._btf.record(type_id)
            if record.kind not in _MODIFIERS:
                return record
            type_id = record.size_or_type
        raise NoMember(f"type {type_id} of this kernel is made of itself")
