"""drgn objects as plain values: what a BPF map holds, for a dump or a comparison.

Numbers, booleans, names of enumerators, texts (arrays of char), lists, and structures by member; a pointer is its
address in hexadecimal. Nothing is followed, and of what is too large or too deep a part is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from drgn import Object, Type, TypeKind

from ktstr.introspect.program import clean

MAX_ITEMS = 65536  # of one value, all in all
_MAX_DEPTH = 32
_CUT = "..."


class _Room:
    """How many more items a value may have."""

    def __init__(self, items: int) -> None:
        self.items = items

    def take(self) -> bool:
        self.items -= 1
        return self.items >= 0


def plain(value: Object, items: int = MAX_ITEMS) -> object:
    """A plain value of at most ``items`` items. Raises what reading guest memory raises."""
    return _plain(value.type_, value.value_(), _Room(items), 0)


def _plain(of: Type, value: object, room: _Room, depth: int) -> object:
    """``value``: what drgn gives for an object of type ``of``: dictionaries, lists, numbers."""
    if not room.take() or depth > _MAX_DEPTH:
        return _CUT
    while of.kind is TypeKind.TYPEDEF:
        of = of.type
    if of.kind in (TypeKind.STRUCT, TypeKind.UNION):
        assert isinstance(value, Mapping)
        return _members(of, value, room, depth)
    if of.kind is TypeKind.ARRAY:
        assert isinstance(value, Sequence)
        return _items(of.type, value, room, depth)
    if of.kind in (TypeKind.POINTER, TypeKind.FUNCTION):
        return hex(value) if isinstance(value, int) else str(value)
    if of.kind is TypeKind.ENUM:
        names = (each.name for each in of.enumerators or () if each.value == value)
        return next(names, value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (bool, int, float)) else str(value)


def _members(of: Type, value: Mapping[str, object], room: _Room, depth: int) -> dict[str, object]:
    """Members of anonymous structures inside are its own, as drgn has them."""
    types = _named(of, depth)
    return {name: _plain(types[name], held, room, depth + 1) for name, held in value.items() if name in types}


def _named(of: Type, depth: int) -> dict[str, Type]:
    found: dict[str, Type] = {}
    for member in of.members or () if depth <= _MAX_DEPTH else ():
        if member.name:
            found[member.name] = member.type
        else:
            found |= _named(member.type, depth + 1)
    return found


def _items(of: Type, value: Sequence[object], room: _Room, depth: int) -> object:
    inner = of
    while inner.kind is TypeKind.TYPEDEF:
        inner = inner.type
    if inner.kind is TypeKind.INT and inner.size == 1 and inner.name == "char":
        raw = bytes(int(str(c)) & 0xFF for c in value)
        return clean(raw.split(b"\0")[0])
    found: list[object] = []
    for each in value:
        if room.items <= 0:
            found.append(_CUT)
            break
        found.append(_plain(of, each, room, depth + 1))
    return found
