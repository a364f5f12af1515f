"""A machine's RAM: its digest, and the compressed files it is kept in. Pages of zeros take no place in either.

A file is one zstandard frame of records, little-endian: offset in the piece (u64), length (u32), that many bytes.
Offsets and lengths are whole pages and go up; a record of length 0 at the piece's size is the last. RAM is never in
one ``bytes``: a chunk of it is, and the hash is updated by chunks, since each update gives up the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from ktstr.vm.descriptors import data_extents, memory_file
from ktstr.vm.snapshot import seal, write_at

PAGE = 4096
CHUNK = 256 << 10  # of RAM at a time: measured, larger ones are slower to allocate
_LEVEL = 1
_MAX_WINDOW = 1 << 23  # far above that of level 1
_ZEROS = bytes(PAGE)
_PLACE = struct.Struct("<IQ")  # piece, offset
_RECORD = struct.Struct("<QI")  # offset, length


class Damaged(Exception):
    """What is in the cache is not what was stored there. The message names the file, the caller its folder."""


@dataclass(frozen=True)
class Run:
    """Pages with data that follow each other, from ``offset`` in their piece on."""

    offset: int
    data: bytes


class RamDigest:
    """SHA-256 over the piece's number (u32), the offset in it (u64), both little-endian, and the 4096 bytes of each
    page that is not all zeros, pieces and pages in order."""

    def __init__(self) -> None:
        self.data_bytes = 0
        self._hash = hashlib.sha256()

    def add(self, piece: int, run: Run) -> None:
        """What follows what was added before."""
        parts: list[bytes] = []
        for at in range(0, len(run.data), PAGE):
            parts += (_PLACE.pack(piece, run.offset + at), run.data[at : at + PAGE])
        self._hash.update(b"".join(parts))
        self.data_bytes += len(run.data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def piece_size(fd: int) -> int:
    """The size of a piece of RAM. Raises ValueError unless it is whole pages, at least one."""
    size = os.fstat(fd).st_size
    if size == 0 or size % PAGE:
        raise ValueError(f"found a piece of RAM of {size} bytes, expected whole pages of {PAGE}")
    return size


def runs(fd: int) -> Iterator[Run]:
    """Where a piece of RAM is not zero, in order, at most ``CHUNK`` bytes at a time. Raises OSError."""
    for start, end in data_extents(fd, piece_size(fd)):
        for offset in range(start, end, CHUNK):
            yield from _with_data(offset, os.pread(fd, min(CHUNK, end - offset), offset))


def digest_of(memory: Iterable[int]) -> RamDigest:
    """The digest of RAM that is kept nowhere. Raises OSError."""
    digest = RamDigest()
    for piece, fd in enumerate(memory):
        for run in runs(fd):
            digest.add(piece, run)
    return digest


def pack(fd: int, piece: int, path: Path, digest: RamDigest) -> None:
    """Write a piece of RAM as the file ``path``, and add it to ``digest``. Raises OSError."""
    with path.open("xb") as file, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file) as out:
        for run in runs(fd):
            digest.add(piece, run)
            out.write(_RECORD.pack(run.offset, len(run.data)))
            out.write(run.data)
        out.write(_RECORD.pack(piece_size(fd), 0))


def unpack(file: BinaryIO, piece: int, size: int, digest: RamDigest, limit: int) -> int:
    """The sealed memory file of ``size`` bytes that was packed, added to ``digest``.

    ``limit``: the most bytes of data in all pieces of the digest. Raises Damaged, and OSError of either file.
    """
    fd = memory_file(f"ktstr-ram-{piece}", size)
    try:
        for run in _records(file, size):
            if digest.data_bytes + len(run.data) > limit:
                raise Damaged(f"has more data than the {limit} bytes there are of it")
            digest.add(piece, run)
            write_at(fd, run.data, run.offset)
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _with_data(offset: int, chunk: bytes) -> Iterator[Run]:
    """The runs of pages of a chunk at ``offset`` that are not zero."""
    start: int | None = None
    for at in range(0, len(chunk), PAGE):
        if chunk[at : at + PAGE] != _ZEROS:
            start = at if start is None else start
        elif start is not None:
            yield Run(offset + start, chunk[start:at])
            start = None
    if start is not None:
        yield Run(offset + start, chunk[start:] if start else chunk)


def _records(file: BinaryIO, size: int) -> Iterator[Run]:
    """Everything up to the last record. Each is checked before its bytes are unpacked."""
    end = 0
    with zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(file, closefd=False) as source:
        while True:
            offset, length = _RECORD.unpack(_exactly(source, _RECORD.size))
            if (offset, length) == (size, 0):
                return
            whole = offset % PAGE == 0 and length % PAGE == 0 and 0 < length <= CHUNK
            if not whole or not end <= offset <= size - length:
                raise Damaged(f"has {length} bytes for {offset:#x}, expected pages from {end:#x} to {size:#x}")
            end = offset + length
            yield Run(offset, _exactly(source, length))


def _exactly(source: zstandard.ZstdDecompressionReader, size: int) -> bytes:
    try:
        data = source.read(size)
        while len(data) < size and (more := source.read(size - len(data))):
            data += more
    except (zstandard.ZstdError, MemoryError) as err:
        raise Damaged(f"cannot be unpacked: {err}") from None
    if len(data) < size:
        raise Damaged("ends too early")
    return data
