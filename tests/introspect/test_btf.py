"""The reader of BTF: types as the records say, and garbage is refused (what a real kernel's are, the guests show)."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

import drgn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.introspect.btf import BadBtf, Btf, Kind
from ktstr.introspect.finders import BtfTypes

_HEADER = struct.Struct("<HBBIIIII")


@dataclass(frozen=True)
class Type:
    """A record: name, kind, members or flags, and what follows the first 12 bytes."""

    name: str
    kind: Kind
    size_or_type: int
    vlen: int = 0
    flag: bool = False
    tail: bytes = b""


class Blob:
    """A BTF blob as Documentation/bpf/btf.rst lays it out, made by hand."""

    def __init__(self) -> None:
        self._strings = b"\0"
        self._types = b""

    def name(self, text: str) -> int:
        if not text:
            return 0
        offset = len(self._strings)
        self._strings += text.encode() + b"\0"
        return offset

    def add(self, one: Type) -> None:
        info = one.kind << 24 | one.vlen | one.flag << 31
        self._types += struct.pack("<III", self.name(one.name), info, one.size_or_type) + one.tail

    def member(self, name: str, type_id: int, bits: int) -> bytes:
        return struct.pack("<III", self.name(name), type_id, bits)

    def bytes(self) -> bytes:
        sizes = (0, len(self._types), len(self._types), len(self._strings))
        return _HEADER.pack(0xEB9F, 1, 0, 24, *sizes) + self._types + self._strings


def example() -> Blob:
    """int; struct pair {int a; int *b; unsigned bits: 3;}; enum state {OFF = 0, ON = -1}; typedef loop loop."""
    blob = Blob()
    blob.add(Type("int", Kind.INT, 4, tail=struct.pack("<I", 1 << 24 | 32)))  # 1
    blob.add(Type("", Kind.PTR, 1))  # 2
    members = blob.member("a", 1, 0) + blob.member("b", 2, 64) + blob.member("bits", 1, 3 << 24 | 128)
    blob.add(Type("pair", Kind.STRUCT, 24, 3, True, members))  # 3
    values = struct.pack("<Ii", blob.name("OFF"), 0) + struct.pack("<Ii", blob.name("ON"), -1)
    blob.add(Type("state", Kind.ENUM, 4, 2, True, values))  # 4
    blob.add(Type("loop", Kind.TYPEDEF, 5))  # 5
    blob.add(Type("", Kind.ARRAY, 0, tail=struct.pack("<III", 1, 1, 7)))  # 6
    return blob


def types_of(data: bytes) -> BtfTypes:
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    return BtfTypes(prog, Btf(data))


def test_structures_have_their_members_where_the_records_say() -> None:
    pair = types_of(example().bytes()).type(3)
    found = [(member.name, member.bit_offset, member.bit_field_size) for member in pair.members]
    assert found == [("a", 0, None), ("b", 64, None), ("bits", 128, 3)]
    assert (pair.tag, pair.size, str(pair.members[1].type)) == ("pair", 24, "int *")


def test_enumerators_are_found_by_name_with_their_sign() -> None:
    btf = Btf(example().bytes())
    found = btf.constant("ON")
    assert found is not None
    assert (found[0].name, found[1]) == ("state", -1)
    assert btf.constant("pair") is None
    assert btf.constant("NEITHER") is None


def test_an_array_has_its_length() -> None:
    assert str(types_of(example().bytes()).type(6)) == "int [7]"


def test_a_type_that_is_made_of_itself_is_refused() -> None:
    with pytest.raises(BadBtf, match="type 5 is made of itself"):
        types_of(example().bytes()).type(5)


def test_a_chain_of_types_that_is_too_long_is_refused() -> None:
    blob = Blob()
    for number in range(1, 200):
        blob.add(Type("", Kind.CONST, number + 1))
    with pytest.raises(BadBtf, match="of more than 64 others inside each other"):
        types_of(blob.bytes()).type(1)


@pytest.mark.parametrize("type_id", [-1, 7, 1 << 31])
def test_an_id_that_there_is_not_is_refused(type_id: int) -> None:
    with pytest.raises(BadBtf, match="of 6 there are"):
        Btf(example().bytes()).record(type_id)


def test_a_value_without_a_sane_size_is_refused() -> None:
    blob = Blob()
    blob.add(Type("int", Kind.INT, 4, tail=struct.pack("<I", 32)))
    for _ in range(4):  # 2, 3, 4, 5: arrays of arrays of 2^31 elements
        blob.add(Type("", Kind.ARRAY, 0, tail=struct.pack("<III", 1 if _ == 0 else _ + 1, 1, 1 << 31)))
    types = types_of(blob.bytes())
    for type_id in (0, 2, 3, 4, 5):
        with pytest.raises(BadBtf, match="is no value of up to"):
            types.sized(type_id)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[:10], "expected a header"),
        (lambda data: b"\0" + data[1:], "magic"),
        (lambda data: data[:-30], "beyond its"),
        (lambda data: data[:24] + struct.pack("<II", 0, 31 << 24) + data[32:], "of kind 31"),
        (lambda data: data[:24] + struct.pack("<II", 0, 4 << 24 | 0xFFFF) + data[32:], "beyond the"),
    ],
)
def test_a_blob_that_does_not_hold_together_is_refused(change: object, why: str) -> None:
    assert callable(change)
    with pytest.raises(BadBtf, match=why):
        Btf(change(example().bytes()))


def every_type(data: bytes) -> None:
    """Make all types there are, and look into each."""
    try:
        types = types_of(data)
    except BadBtf:
        return
    for type_id in range(len(types.btf) + 2):
        try:
            made = types.type(type_id)
            for member in getattr(made, "members", None) or ():
                _ = member.type
            types.sized(type_id)
            types.btf.constant("ON")
        except (BadBtf, AttributeError):
            continue


@given(st.randoms(use_true_random=False))
def test_mutated_blobs_make_types_or_are_refused(rng: random.Random) -> None:
    data = bytearray(example().bytes())
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(24, len(data))] = rng.choice((0, 1, 2, 5, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    every_type(bytes(data))


@given(st.binary(max_size=200))
def test_garbage_behind_a_good_header_makes_types_or_is_refused(garbage: bytes) -> None:
    half = len(garbage) // 2
    every_type(_HEADER.pack(0xEB9F, 1, 0, 24, 0, half, half, len(garbage) - half) + garbage)
