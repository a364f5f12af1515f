"""Snapshots of threads as files: JSON, compressed by zstd, customarily ``*.hst.zst``. What is read may be anybody's."""

from __future__ import annotations

import json
from pathlib import Path

import zstandard

from ktstr.errors import InputError
from ktstr.files import parse_json, unreadable, write_atomic
from ktstr.host.threads import HostState
from ktstr.record.codec import DecodeError, decode, encode

LEVEL = 3
FILE_CAP, JSON_CAP = 64 << 20, 512 << 20  # bytes: a thread takes about 1,000, and 60 of them compressed
_WINDOW = 1 << 27
# zstd makes at most 128 KiB of 4 bytes: 32 MiB from one such piece before it is counted.
_PIECE = 1 << 10


def write_state(path: Path, state: HostState) -> None:
    """Write ``path`` whole, over what was there. Raises HostError naming it."""
    data = json.dumps(encode(state), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    write_atomic(path, zstandard.ZstdCompressor(level=LEVEL).compress(data))


def read_state(path: Path) -> HostState:
    """A snapshot from disk, checked in full. Raises InputError with the path and the step that failed."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_CAP + 1)
    except OSError as err:
        raise unreadable(err, path) from err
    if len(data) > FILE_CAP:
        raise InputError(f"{path}: found more than {FILE_CAP} bytes, expected at most that")
    try:
        return decode(HostState, parse_json(_decompressed(path, data), path, JSON_CAP), "host state")
    except DecodeError as err:
        raise InputError(f"{path}: {err}", fix="doit host_state_capture output=FILE makes one") from err


def _decompressed(path: Path, data: bytes) -> bytes:
    """The one frame of zstd that ``data`` is. Raises InputError; never holds much more than ``JSON_CAP``."""
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    pieces, size = [], 0
    try:
        for at in range(0, len(data), _PIECE):
            if reader.eof:
                raise InputError(f"{path}: found {len(data) - at} bytes or more behind its zstd frame, expected none")
            pieces.append(reader.decompress(data[at : at + _PIECE]))
            size += len(pieces[-1])
            if size > JSON_CAP:
                raise InputError(f"{path}: found more than {JSON_CAP} bytes in it, expected at most that")
    except zstandard.ZstdError as err:
        raise InputError(
            f"{path}: is not compressed by zstd: {err}", fix="doit host_state_capture output=FILE makes one"
        ) from err
    if not reader.eof:
        raise InputError(f"{path}: is not compressed by zstd: it is cut off", fix="capture it again")
    return b"".join(pieces)
