"""cpio archives in the "newc" format, the same bytes from the same entries.

The format is the one the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst):
a 110-byte header of ASCII hexadecimal fields, the name, the data, each padded to 4 bytes. Entries
are sorted, inodes numbered from 1, times and owners 0. A device node is a header like any other,
so making one needs no privilege.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK = 512  # an archive is padded to this, so that another may follow it
MAX_DATA = 0xFFFFFFFF  # the size field has 8 hexadecimal digits
_TRAILER = "TRAILER!!!"
_MAX_PATH = 4095  # the kernel's PATH_MAX, its NUL counted


@dataclass(frozen=True)
class Entry:
    """One name in an archive: ``path`` relative and normal, ``mode`` with its type bits.

    ``data`` is a file's content; ``device`` is (major, minor) of a node.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def regular(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, data)


def char_device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    return Entry(path, stat.S_IFCHR | mode, b"", (major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """An archive of these entries, with the folders above them, which the kernel does not make by itself.

    Its length is a multiple of ``BLOCK``; archives may be concatenated. Raises ValueError for a path
    that is absolute, not normal, or given twice, for one below a thing that is no folder, and for
    4 GiB of data or more.
    """
    named = _by_path(entries)
    for path in tuple(named):
        _add_parents(named, path)
    ordered = sorted(named.values(), key=lambda entry: entry.path.split("/"))
    parts = [part for inode, entry in enumerate(ordered, 1) for part in _encode(entry, inode)]
    parts += _encode(Entry(_TRAILER, 0), 0)
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % BLOCK)


def _by_path(entries: Iterable[Entry]) -> dict[str, Entry]:
    named: dict[str, Entry] = {}
    for entry in entries:
        _check(entry)
        if entry.path in named:
            raise ValueError(f"{entry.path}: is in the archive twice")
        named[entry.path] = entry
    return named


def _check(entry: Entry) -> None:
    path = entry.path
    if "\0" in path or path == _TRAILER or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r}: is no path for an archive; expected a relative one without . or ..")
    if len(path.encode()) > _MAX_PATH:
        raise ValueError(f"{path[:40]!r}...: is longer than the {_MAX_PATH} bytes of a path")
    if len(entry.data) > MAX_DATA:
        raise ValueError(f"{path}: has {len(entry.data)} bytes, at most {MAX_DATA} fit a cpio archive")


def _add_parents(named: dict[str, Entry], path: str) -> None:
    while "/" in path:
        path = path.rpartition("/")[0]
        above = named.setdefault(path, directory(path))
        if not stat.S_ISDIR(above.mode):
            raise ValueError(f"{path}: is no folder, but something lies below it")


def _encode(entry: Entry, inode: int) -> tuple[bytes, ...]:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1  # more than 1 on a file would mean a hard link
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head, bytes(-len(head) % 4), entry.data, bytes(-len(entry.data) % 4)
