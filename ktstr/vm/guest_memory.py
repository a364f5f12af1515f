"""A guest's RAM as the host reads it: where it lies in the guest's physical address space, and its bytes.

Reading needs nothing of the guest and changes nothing of it: under counted instructions a run that is read gives the
same bytes as one that is not (tests/vm/test_qemu_guest.py).
"""

from __future__ import annotations

import errno
import os
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ktstr.config.topology import Topology
from ktstr.vm.descriptors import data_extents, memory_file
from ktstr.vm.memory import nodes_mib

_MIB = 1 << 20
FOUR_GIB = 4 << 30
Q35_SPLIT_FROM = 0xB0000000  # bytes of RAM; from here on q35 keeps it below 2 GiB (hw/i386/pc_q35.c, pc_q35_init)
Q35_LOW_END = 0x80000000
VMM_LOW_END = 0xC0000000  # MEMORY_HOLE_BEGIN of vmm_c/core/memory.h


class BadAddress(ValueError):
    """No RAM of the guest is there."""


@dataclass(frozen=True)
class Piece:
    """RAM without a gap. ``address`` is guest physical, ``size`` in bytes; it is ``node``'s, and begins ``offset``
    bytes into that node's RAM."""

    address: int
    size: int
    node: int
    offset: int

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class Extent:
    """``size`` bytes of a node's RAM, from ``offset``."""

    node: int
    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """Where all RAM of a machine lies: its pieces by address."""

    pieces: tuple[Piece, ...]

    @cached_property
    def _starts(self) -> list[int]:
        return [piece.address for piece in self.pieces]

    def extents(self, address: int, size: int) -> list[Extent]:
        """What ``size`` bytes from a guest physical address are made of. Raises BadAddress unless all are RAM."""
        extents = []
        while size > 0:
            piece = self._piece_at(address)
            count = min(size, piece.end - address)
            extents.append(Extent(piece.node, piece.offset + address - piece.address, count))
            address, size = address + count, size - count
        return extents

    def _piece_at(self, address: int) -> Piece:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.pieces[index].end:
            raise BadAddress(f"guest physical address {address:#x}: no RAM is there")
        return self.pieces[index]


def q35_layout(topology: Topology, memory_mib: int) -> Layout:
    """Where QEMU's q35 has its RAM: nodes follow each other, around the PCI hole. Raises as ``nodes_mib``."""
    total = memory_mib * _MIB
    return _dealt(topology, memory_mib, total if total < Q35_SPLIT_FROM else Q35_LOW_END)


def vmm_layout(topology: Topology, memory_mib: int) -> Layout:
    """The same of the C VMM (``deal`` of vmm_c/core/memory.c)."""
    return _dealt(topology, memory_mib, VMM_LOW_END)


def _dealt(topology: Topology, memory_mib: int, low_end: int) -> Layout:
    """Nodes in order from 0 to ``low_end``, and on from 4 GiB; one that reaches the hole has a piece on each side."""
    pieces = []
    at = 0  # bytes of RAM before this node
    for node, mib in enumerate(nodes_mib(topology, memory_mib)):
        share = mib * _MIB
        low = max(0, min(share, low_end - at))
        if low:
            pieces.append(Piece(at, low, node, 0))
        if low < share:
            pieces.append(Piece(FOUR_GIB + at + low - low_end, share - low, node, low))
        at += share
    return Layout(tuple(pieces))


class GuestMemory(Protocol):
    """The RAM of one guest, readable from its start until the guest is closed, by any thread."""

    @property
    def layout(self) -> Layout: ...

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of guest physical memory. What the guest never touched is zero, and takes no memory of the
        host to read. Raises BadAddress unless all of it is RAM; ValueError or HostError when the guest is closed."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Change guest physical memory, whoever of the guest uses it meanwhile: no run is the same after it. Raises as
        ``read``, before anything was written."""
        ...


class MemfdMemory:
    """RAM in files of ours, one for each node: an emulator maps them shared. Reading a hole leaves it a hole.

    Raises OSError when a file cannot be made.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()  # a number that was closed may be another file's by the time it is read
        self._fds: list[int] = []
        sizes = Counter[int]()
        for piece in layout.pieces:
            sizes[piece.node] += piece.size
        self._place = {node: place for place, node in enumerate(sorted(sizes))}
        try:
            for node, size in sorted(sizes.items()):
                self._fds.append(memory_file(f"ktstr-node{node}", size))
        except BaseException:
            self.close()
            raise

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The file of each node that has memory."""
        return tuple(self._fds)

    def read(self, address: int, size: int) -> bytes:
        return b"".join([self._read(extent) for extent in self._layout.extents(address, size)])

    def _read(self, extent: Extent) -> bytes:
        data = b""
        while len(data) < extent.size:  # at most 2 GiB come at once (read(2))
            with self._lock:
                if not self._fds:
                    raise ValueError("the guest is closed: its memory is gone")
                data += os.pread(
                    self._fds[self._place[extent.node]], extent.size - len(data), extent.offset + len(data)
                )
        return data

    def write(self, address: int, data: bytes) -> None:
        extents, at = self._layout.extents(address, len(data)), 0
        with self._lock:
            if not self._fds:
                raise ValueError("the guest is closed: its memory is gone")
            for extent in extents:
                os.pwrite(self._fds[self._place[extent.node]], data[at : at + extent.size], extent.offset)
                at += extent.size

    def fill(self, sources: Sequence[int]) -> None:
        """Make each node's RAM, of which nothing was written yet, what a file of the same size holds. Holes stay
        holes. Raises ValueError for files of other sizes, before anything is copied, and OSError."""
        theirs, ours = ([os.fstat(fd).st_size for fd in fds] for fds in (sources, self._fds))
        if theirs != ours:
            raise ValueError(f"nodes of {theirs} bytes of RAM, expected {ours}")
        for source, target in zip(sources, self._fds, strict=True):
            _copy_data(source, target)

    def release(self) -> tuple[int, ...]:
        """Hand the file of each node over: what is read of this memory from now on is an error."""
        with self._lock:
            fds, self._fds = tuple(self._fds), []
        return fds

    def close(self) -> None:
        """Twice is once."""
        with self._lock:
            while self._fds:
                os.close(self._fds.pop())


def _copy_data(source: int, target: int) -> None:
    """Copy what ``source`` holds to the same places of ``target``, leaving out its holes. Raises OSError."""
    for start, end in data_extents(source, os.fstat(source).st_size):
        os.lseek(target, start, os.SEEK_SET)
        at = start
        while at < end:
            copied = os.sendfile(target, source, at, end - at)
            if not copied:
                raise OSError(errno.EIO, "the file became shorter")
            at += copied
