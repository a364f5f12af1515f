"""Pieces of files: read from an entry that may be damaged, digested, and packed for the way."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import zstandard

from ktstr.cluster.manifest import PIECE, EntryFile, Piece
from ktstr.errors import HostError

MAX_PACKED = PIECE + 1  # bytes
_LEVEL = 3
_WINDOW = 2 * PIECE  # bytes: what the level needs, and no more of anybody's
_PLAIN, _ZSTD = b"\0", b"\1"  # the first byte of a packed piece


class Missing(HostError):
    """A piece is nowhere to be had."""


@dataclass(frozen=True)
class Place:
    """Where a piece may be read: from byte ``offset`` of the file ``path`` below ``folder`` on."""

    folder: Path
    path: str
    offset: int = 0


def open_file(folder: Path, path: str) -> BinaryIO:
    """A regular file inside ``folder``, to read. Raises OSError, also for one that a symbolic link leads to."""
    for above in PurePosixPath(path).parents:
        if above.name and not stat.S_ISDIR((folder / above).lstat().st_mode):
            raise OSError(errno.ENOTDIR, "is no folder", str(folder / above))
    if not stat.S_ISREG((folder / path).lstat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(folder / path))
    return (folder / path).open("rb")


def read_file(folder: Path, path: str) -> EntryFile:
    """What a manifest says of the file. Raises OSError; ValueError for what no manifest may have."""
    with open_file(folder, path) as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        size, digests = 0, []
        while data := file.read(PIECE):
            size += len(data)
            digests.append(digest_of(data))
    return EntryFile(path, mode, size, tuple(digests))


def read_place(place: Place, size: int) -> bytes:
    """At most ``size`` bytes that are there. Raises OSError."""
    with open_file(place.folder, place.path) as file:
        file.seek(place.offset)
        return file.read(size)


def digest_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def is_piece(data: bytes, piece: Piece) -> bool:
    """Whether these are its bytes."""
    return len(data) == piece.size and digest_of(data) == piece.digest


def verified(place: Place, piece: Piece) -> bytes | None:
    """Its bytes, if they are there."""
    try:
        data = read_place(place, piece.size)
    except OSError:
        return None
    return data if is_piece(data, piece) else None


def fetch(piece: Piece, places: Iterable[Place]) -> bytes:
    """Its bytes, from the first of these places that has them. Raises Missing."""
    for place in places:
        if (data := verified(place, piece)) is not None:
            return data
    raise Missing(
        f"piece {piece.index} of {piece.path}: did not arrive, or was damaged here", fix="run the command again"
    )


def pack(data: bytes) -> bytes:
    """A piece for the way: compressed where that makes it smaller. At most ``MAX_PACKED`` bytes."""
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
    return _ZSTD + packed if len(packed) < len(data) else _PLAIN + data


def unpack(packed: bytes, piece: Piece) -> bytes:
    """The bytes of a packed piece. Raises HostError for whatever else was packed; no more than a piece is unpacked."""
    data = unpacked(packed, piece.size)
    if data is not None and is_piece(data, piece):
        return data
    raise HostError(
        f"piece {piece.index} of {piece.path}: what arrived is not what its digest says", fix="run the command again"
    )


def unpacked(packed: bytes, size: int) -> bytes | None:
    """What was packed: at most one byte more than ``size``; None for what is not packed at all, or too large."""
    tag, data = packed[:1], packed[1:]
    if len(packed) > MAX_PACKED:
        return None
    if tag == _PLAIN:
        return data
    if tag != _ZSTD:
        return None
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data) as reader:
            return reader.read(size + 1)
    except zstandard.ZstdError:
        return None
