"""What an entry of the cache consists of, as bytes that travel: its files, cut into pieces that are known by digest.

A ``Manifest`` that exists is clean, whoever sent it: its paths stay inside the entry, its numbers are bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import msgspec

from ktstr.errors import InputError
from ktstr.host.cache import check_key
from ktstr.host.leftovers import is_unfinished
from ktstr.record.codec import ready

PIECE = 4 << 20  # bytes
MAX_FILES = 10_000
MAX_ENTRY = 64 << 30  # bytes of all its files
MAX_MANIFEST = 16 << 20  # bytes, encoded: the most files and pieces, with long names
MAX_PATH = 4095  # bytes
MAX_PART = 255  # bytes

Kind = Literal["kernels", "images", "tools", "agents", "vmm"]
KINDS: tuple[str, ...] = get_args(Kind)

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Piece:
    """``size`` bytes (at most ``PIECE``) of the file ``path``, from byte ``index * PIECE`` on; ``digest``: SHA-256."""

    digest: str
    path: str
    index: int
    size: int

    @property
    def offset(self) -> int:
        """In bytes."""
        return self.index * PIECE


class EntryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A regular file of an entry: its path in it, permission bits, bytes, and the SHA-256 of each of its pieces."""

    path: str
    mode: int
    size: int
    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        check_path(self.path)
        if not 0o400 <= self.mode <= 0o777:
            raise ValueError(f"{self.path}: found mode {self.mode:#o}, expected permissions that let its owner read")
        if not 0 <= self.size <= MAX_ENTRY:
            raise ValueError(f"{self.path}: found {self.size} bytes, expected 0 to {MAX_ENTRY}")
        if len(self.digests) != -(-self.size // PIECE):
            raise ValueError(f"{self.path}: found {len(self.digests)} pieces of {self.size} bytes")
        if not all(is_digest(digest) for digest in self.digests):
            raise ValueError(f"{self.path}: found a piece whose digest is no SHA-256")

    def pieces(self) -> tuple[Piece, ...]:
        """In order."""
        return tuple(
            Piece(digest, self.path, index, min(PIECE, self.size - index * PIECE))
            for index, digest in enumerate(self.digests)
        )


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """An entry of the cache below ``root`` on the asker's host; ``files`` by path. Empty folders do not count.

    Raises ValueError for whatever cannot be or does not belong in an entry.
    """

    kind: Kind
    key: str
    root: str
    files: tuple[EntryFile, ...]

    def __post_init__(self) -> None:
        check_kind(self.kind)
        check_key(self.key)
        if not self.root.startswith("/") or "\0" in self.root or len(self.root.encode()) > MAX_PATH:
            raise ValueError(f"root {self.root[:60]!r} is no absolute path")
        if not 1 <= len(self.files) <= MAX_FILES:
            raise ValueError(f"found {len(self.files)} files, expected 1 to {MAX_FILES}")
        if sum(file.size for file in self.files) > MAX_ENTRY:
            raise ValueError(f"found more than {MAX_ENTRY} bytes in all files")
        paths = [file.path for file in self.files]
        if any(one >= other for one, other in pairwise(paths)):
            raise ValueError("found files twice or out of order")
        if both := folders_of(paths) & set(paths):
            raise ValueError(f"{min(both)} is both a file and a folder")

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.kind}/{self.key}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content, wherever it is."""
        return hashlib.sha256(msgspec.msgpack.encode((self.kind, self.key, self.files))).hexdigest()

    @cached_property
    def pieces(self) -> Mapping[str, Piece]:
        """Each different piece by its digest, as it first occurs."""
        found: dict[str, Piece] = {}
        for file in self.files:
            for piece in file.pieces():
                found.setdefault(piece.digest, piece)
        return found


def check_kind(kind: str) -> None:
    """Raises ValueError for a class of the cache that does not travel."""
    if kind not in KINDS:
        raise ValueError(f"{kind[:60]!r} is none of {', '.join(KINDS)}")


def check_path(path: str) -> None:
    """Raises ValueError for one that is not that of a finished file inside an entry."""
    parts = path.split("/")
    if "\0" in path or len(path.encode()) > MAX_PATH or any(_is_bad(part) for part in parts):
        raise ValueError(f"{path[:200]!r} is no path of a file in an entry")


def _is_bad(part: str) -> bool:
    return part in ("", ".", "..") or len(part.encode()) > MAX_PART or is_unfinished(part)


def is_digest(text: str) -> bool:
    """Whether it is a SHA-256 in lower-case hexadecimal: a plain file name too."""
    return len(text) == 64 and _HEX.issuperset(text)


def folders_of(paths: list[str]) -> set[str]:
    """All folders that these files are in, however deep, but for the entry itself."""
    found: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in found:
            found.add(path)
    return found


def encode(manifest: Manifest) -> bytes:
    """As ``decode`` takes it. Raises ValueError when it is larger than that does."""
    data = msgspec.msgpack.encode(manifest)
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"{manifest.name}: found {len(data)} bytes of names and digests, expected {MAX_MANIFEST}")
    return data


def decode(data: bytes) -> Manifest:
    """Raises InputError for anything that is no clean manifest."""
    if len(data) > MAX_MANIFEST:
        raise InputError(f"manifest: found {len(data)} bytes, expected at most {MAX_MANIFEST}")
    try:
        return msgspec.msgpack.decode(data, type=ready(Manifest))
    except (ValueError, RecursionError) as err:  # msgspec's errors are ValueErrors, as is text that is no UTF-8
        raise InputError(f"manifest: {err}") from err
