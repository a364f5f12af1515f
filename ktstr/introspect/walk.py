"""The kernel's linked structures, walked by raw addresses: each walk ends, whatever the memory says.

A list that comes back to where it was, one that is longer than its limit, and a tree deeper than it can be are
Unreadable; what was yielded before that stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ktstr.introspect.program import GuestProgram, Unreadable

_XA_CHUNK_SHIFT = 6  # CONFIG_BASE_SMALL is off (include/linux/xarray.h)
_XA_CHUNK = 1 << _XA_CHUNK_SHIFT
_XA_INTERNAL, _XA_POINTERS = 2, 4096  # xa_is_node
_MAX_BUCKETS = 1 << 22


def linked_list(program: GuestProgram, head: int, limit: int) -> Iterator[int]:
    """The address of each ``struct list_head`` after ``head``. Raises Unreadable."""
    seen = {head}
    node = program.u64(head)
    while node != head:
        if node in seen or len(seen) > limit:
            raise Unreadable(f"the list at {head:#x} has no end, or more than {limit} entries")
        seen.add(node)
        yield node
        node = program.u64(node)


def chain(program: GuestProgram, first: int, limit: int, next_offset: int = 0) -> Iterator[int]:
    """The address of each entry of a chain that ends with NULL or an odd value (``hlist``, ``hlist_nulls``, and the
    buckets of rhashtable). Raises Unreadable."""
    seen: set[int] = set()
    node = first
    while node and not node & 1:
        if node in seen or len(seen) >= limit:
            raise Unreadable(f"the chain from {first:#x} has no end, or more than {limit} entries")
        seen.add(node)
        yield node
        node = program.u64(node + next_offset)


@dataclass(frozen=True)
class IdrEntry:
    id: int
    address: int


def idr(program: GuestProgram, name: str, limit: int) -> Iterator[IdrEntry]:
    """Each id of a global ``struct idr``, and the pointer it is for, in order. Raises Unreadable."""
    address = program.address(name)
    base = int.from_bytes(program.bytes_at(address + program.offset("struct idr", "idr_base"), 4), "little")
    head = program.u64(address + program.offset("struct idr", "idr_rt.xa_head"))
    for count, entry in enumerate(_slots(program, head, 0, None)):
        if count >= limit:
            raise Unreadable(f"{name} has more than {limit} entries")
        yield IdrEntry(base + entry.id, entry.address)


def _slots(program: GuestProgram, entry: int, index: int, above: int | None) -> Iterator[IdrEntry]:
    """What is below an entry of an xarray, ``index`` its first index. ``above``: the shift of the node it is in."""
    if entry & 3 != _XA_INTERNAL or entry <= _XA_POINTERS:
        if entry and not entry & 3:
            yield IdrEntry(index, entry)
        return
    node = entry - _XA_INTERNAL
    shift = program.bytes_at(node + program.offset("struct xa_node", "shift"), 1)[0]
    if shift % _XA_CHUNK_SHIFT or shift > 60 or (above is not None and shift != above - _XA_CHUNK_SHIFT):
        raise Unreadable(f"the xarray node at {node:#x} has shift {shift} below one of {above}")
    slots = program.bytes_at(node + program.offset("struct xa_node", "slots"), 8 * _XA_CHUNK)
    for number in range(_XA_CHUNK):
        slot = int.from_bytes(slots[8 * number : 8 * number + 8], "little")
        if slot:
            yield from _slots(program, slot, index + (number << shift), shift)


def rhashtable(program: GuestProgram, table: int, limit: int) -> Iterator[int]:
    """The address of each ``struct rhash_head`` of the ``struct rhashtable`` at ``table``. Raises Unreadable.

    One that is being resized has a second table, whose entries are no others: it is not followed.
    """
    buckets = program.u64(table + program.offset("struct rhashtable", "tbl"))
    size = int.from_bytes(program.bytes_at(buckets, 4), "little")  # its first member
    if program.bytes_at(buckets + program.offset("struct bucket_table", "nest"), 4) != bytes(4):
        raise Unreadable(f"the hash table at {table:#x} is nested")
    if not 0 < size <= _MAX_BUCKETS:
        raise Unreadable(f"the hash table at {table:#x} has {size} buckets, expected at most {_MAX_BUCKETS}")
    first = buckets + program.offset("struct bucket_table", "buckets")
    heads = program.bytes_at(first, 8 * size)
    count = 0
    for number in range(size):
        head = int.from_bytes(heads[8 * number : 8 * number + 8], "little") & ~1  # bit 0 is its lock
        for node in chain(program, head, limit):
            count += 1
            if count > limit:
                raise Unreadable(f"the hash table at {table:#x} has more than {limit} entries")
            yield node
