"""BPF maps, typed by their own BTF: HASH and its like, ARRAY, the per-CPU ones, local storage, STRUCT_OPS.

kernel/bpf/syscall.c keeps every map in ``map_idr``. What a scheduler calls its globals are ARRAY maps of one element,
.bss, .data and .rodata, whose value is a structure of them. Keys and values without BTF are bytes, in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drgn import Object, Type, sizeof

from ktstr.introspect.bpf import enumerator
from ktstr.introspect.program import GuestProgram, Unreadable, reading
from ktstr.introspect.tasks import task_ref
from ktstr.introspect.values import plain
from ktstr.introspect.walk import chain, idr
from ktstr.record.kernel import BpfMap, BpfMaps, MapEntry

MAX_MAPS = 65536
MAX_ENTRIES = 1024  # of one map, unless more are asked for
MAX_ITEMS = 1 << 18  # numbers and texts of all its entries
_MAX_VALUE = 1 << 20  # bytes
_MAX_BUCKETS = 1 << 22
_MAX_CHAIN = 1 << 16
_TYPE_PREFIX = "BPF_MAP_TYPE_"
_NAME = 16  # BPF_OBJ_NAME_LEN


@dataclass(frozen=True)
class MapFacts:
    """A map without its entries. ``address``: of its ``struct bpf_map``; ``type``: without BPF_MAP_TYPE_."""

    address: int
    id: int
    name: str
    type: str
    key_size: int
    value_size: int
    max_entries: int
    frozen: bool

    @property
    def per_cpu(self) -> bool:
        return "PERCPU" in self.type


def read_maps(program: GuestProgram, entries: int = MAX_ENTRIES) -> BpfMaps:
    """Every BPF map, by id, each with at most ``entries``. Raises nothing."""
    found: list[BpfMap] = []
    try:
        for facts in map_facts(program):
            found.append(read_map(program, facts, entries))
    except Unreadable as err:
        return BpfMaps(maps=tuple(found), error=str(err))
    return BpfMaps(maps=tuple(found))


def map_facts(program: GuestProgram) -> Iterator[MapFacts]:
    """Every BPF map, by id. Raises Unreadable."""
    with reading("BPF maps"):
        for entry in idr(program, "map_idr", MAX_MAPS):
            with reading(f"map {entry.id}"):
                held = program.at("struct bpf_map", entry.address).read_()
                facts = MapFacts(
                    address=entry.address,
                    id=entry.id,
                    name=program.text_at(entry.address + program.offset("struct bpf_map", "name"), _NAME),
                    type=enumerator(held.map_type, _TYPE_PREFIX),
                    key_size=int(held.key_size),
                    value_size=int(held.value_size),
                    max_entries=int(held.max_entries),
                    frozen=bool(held.frozen),
                )
            yield facts


def find_map(program: GuestProgram, name: str) -> MapFacts:
    """The map with this name, or the only one whose name ends with it (``.bss``: the kernel keeps 15 characters).

    Raises Unreadable when there is none, or more than one.
    """
    every = list(map_facts(program))
    found = [each for each in every if each.name == name] or [each for each in every if each.name.endswith(name)]
    if len(found) != 1:
        names = ", ".join(sorted({each.name for each in (found or every)}))[:200]
        raise Unreadable(f"map {name!r}: found {len(found)} of {names or 'no maps at all'}, expected one")
    return found[0]


def read_map(program: GuestProgram, facts: MapFacts, entries: int = MAX_ENTRIES) -> BpfMap:
    """One map with at most ``entries``. Raises nothing."""
    walk = _WALKS.get(facts.type)
    found: list[MapEntry] = []
    truncated, error = False, None
    try:
        with reading(f"map {facts.name}"):
            for entry in walk(_Reader(program, facts)) if walk else ():
                if len(found) >= entries:
                    truncated = True
                    break
                found.append(entry)
    except Unreadable as err:
        error = str(err)
    return BpfMap(
        id=facts.id,
        name=facts.name,
        type=facts.type,
        key_size=facts.key_size,
        value_size=facts.value_size,
        max_entries=facts.max_entries,
        frozen=facts.frozen,
        entries=None if walk is None else tuple(found),
        truncated=truncated,
        error=error,
    )


class _Reader:
    """One map being read: its types, and how much of a value is still to be told."""

    def __init__(self, program: GuestProgram, facts: MapFacts) -> None:
        self.program, self.facts = program, facts
        if not (0 <= facts.key_size <= _MAX_VALUE and 0 <= facts.value_size <= _MAX_VALUE):
            raise Unreadable(f"keys of {facts.key_size} and values of {facts.value_size} bytes")
        self.map = program.at("struct bpf_map", facts.address)
        self.key_type = self._type(int(self.map.btf_key_type_id), facts.key_size)
        self.value_type = self._type(int(self.map.btf_value_type_id), facts.value_size)
        self._items = MAX_ITEMS

    def _type(self, type_id: int, size: int) -> Type | None:
        """By the BTF that the map came with; None where there is none, or of another size."""
        if not type_id or not self.map.btf.value_():
            return None
        found = self.program.program_types(self.map.btf).sized(type_id)
        return found if sizeof(found) == size else None

    def key(self, address: int) -> object:
        return self._value(self.key_type, address, self.facts.key_size)

    def value(self, address: int) -> object:
        """That at an address; for a per-CPU map, those that the pointer there leads to."""
        if not self.facts.per_cpu:
            return self._value(self.value_type, address, self.facts.value_size)
        pointer = self.program.u64(address)
        size = self.facts.value_size
        places = (self.program.per_cpu(pointer, cpu) for cpu in self.program.cpus)
        return [self._value(self.value_type, place, size) for place in places]

    def _value(self, of: Type | None, address: int, size: int) -> object:
        if self._items <= 0:
            raise Unreadable(f"its values have more than {MAX_ITEMS} numbers")
        if of is None:
            self._items -= 1 + size // 8
            return self.program.bytes_at(address, size).hex()
        made = plain(Object(self.program.prog, of, address=address), self._items)
        self._items -= _count(made)
        return made


def _count(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(_count(each) for each in value.values())
    return 1 + sum(_count(each) for each in value) if isinstance(value, list) else 1


def _array(reader: _Reader) -> Iterator[MapEntry]:
    program, facts = reader.program, reader.facts
    base = facts.address + program.offset("struct bpf_array", "value")
    step = 8 if facts.per_cpu else -(-facts.value_size // 8) * 8
    for index in range(facts.max_entries):
        yield MapEntry(key=index, value=reader.value(base + index * step))


def _hash(reader: _Reader) -> Iterator[MapEntry]:
    """kernel/bpf/hashtab.c: ``struct htab_elem``, its key, and the value behind the key rounded up to 8 bytes."""
    program, facts = reader.program, reader.facts
    htab = program.at("struct bpf_htab", facts.address)
    count, buckets = int(htab.n_buckets), htab.buckets.value_()
    if not 0 < count <= _MAX_BUCKETS:
        raise Unreadable(f"it has {count} buckets, expected at most {_MAX_BUCKETS}")
    size = program.size("struct bucket")
    first = program.offset("struct bucket", "head.first")
    node, key = program.offset("struct htab_elem", "hash_node"), program.offset("struct htab_elem", "key")
    value = key + -(-facts.key_size // 8) * 8
    left = min(facts.max_entries, MAX_ITEMS)
    for index in range(count):
        for entry in chain(program, program.u64(buckets + index * size + first), _MAX_CHAIN):
            if left == 0:
                raise Unreadable(f"it has more than its {facts.max_entries} entries")
            left -= 1
            element = entry - node
            yield MapEntry(key=reader.key(element + key), value=reader.value(element + value))


def _storage(reader: _Reader) -> Iterator[MapEntry]:
    """kernel/bpf/bpf_local_storage.c: a value for each task or cgroup that has one."""
    program, facts = reader.program, reader.facts
    smap = program.at("struct bpf_local_storage_map", facts.address)
    bits, buckets = int(smap.bucket_log), smap.buckets.value_()
    if bits > _MAX_BUCKETS.bit_length():
        raise Unreadable(f"it has 2^{bits} buckets, expected at most {_MAX_BUCKETS}")
    size = program.size("struct bpf_local_storage_map_bucket")
    element = "struct bpf_local_storage_elem"
    node, data = program.offset(element, "map_node"), program.offset(element, "sdata.data")
    local = program.offset(element, "local_storage")
    owner = program.offset("struct bpf_local_storage", "owner")
    for index in range(1 << bits):
        for entry in chain(program, program.u64(buckets + index * size), _MAX_CHAIN):
            place = entry - node
            holder = program.u64(program.u64(place + local) + owner)
            yield MapEntry(key=_owner(program, facts, holder), value=reader.value(place + data))


def _owner(program: GuestProgram, facts: MapFacts, address: int) -> object:
    if facts.type != "TASK_STORAGE":
        return hex(address)
    who = task_ref(program, address)
    return {"pid": who.pid, "comm": who.comm}


def _struct_ops(reader: _Reader) -> Iterator[MapEntry]:
    """kernel/bpf/bpf_struct_ops.c: the kernel's own structure, ``struct bpf_struct_ops_sched_ext_ops``."""
    program, facts = reader.program, reader.facts
    type_id = int(reader.map.btf_vmlinux_value_type_id)
    address = facts.address + program.offset("struct bpf_struct_ops_map", "kvalue")
    yield MapEntry(key=None, value=plain(Object(program.prog, program.types.sized(type_id), address=address)))


_WALKS: dict[str, Callable[[_Reader], Iterator[MapEntry]]] = {
    "HASH": _hash,
    "LRU_HASH": _hash,
    "PERCPU_HASH": _hash,
    "LRU_PERCPU_HASH": _hash,
    "ARRAY": _array,
    "PERCPU_ARRAY": _array,
    "TASK_STORAGE": _storage,
    "CGRP_STORAGE": _storage,
    "STRUCT_OPS": _struct_ops,
}
