"""Extracting a kernel's source archive: streamed, and refused whole when it holds anything odd.

An archive is trusted by its hash or not at all, but unpacked as a hostile one: every member is
checked here, before it is written, and limits bound names, files and bytes. Links are never
written through: each folder a member lies in was made by this extraction.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zstandard

from ktstr.cancel import Cancel
from ktstr.errors import HostError

CHUNK = 1 << 20
HEADERS = 1 << 20  # between two members: long names and extended headers, which tarfile keeps in memory
DICTIONARY = 512 << 20  # most memory that unpacking may take; xz -9 needs 65 MiB
_NAME_MAX, _PATH_MAX, _DEPTH_MAX = 255, 1024, 64
_MAGIC = ((b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"))
_BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile, EOFError, ValueError)

OnBytes = Callable[[int, int | None], None]
"""Told bytes done and bytes in all; None when not known."""


@dataclass(frozen=True)
class Limits:
    """The most an archive may hold. Linux 6.12 has 92 k members, 1.5 GB, and its longest file is 24 MB."""

    members: int = 300_000
    file_bytes: int = 256 << 20
    total_bytes: int = 8 << 30


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Xz:
    """Reads .xz like lzma.LZMAFile, with a limit on its memory, which LZMAFile does not take."""

    def __init__(self, raw: _Reads) -> None:
        self._raw, self._rest, self._stream = raw, b"", self._fresh()

    @staticmethod
    def _fresh() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY)

    def read(self, size: int, /) -> bytes:
        while True:
            if self._stream.eof:  # streams may follow each other, with zeros between them
                self._rest = self._stream.unused_data.lstrip(b"\0") or self._raw.read(CHUNK).lstrip(b"\0")
                if not self._rest:
                    return b""
                self._stream = self._fresh()
            elif self._stream.needs_input and not self._rest:
                self._rest = self._raw.read(CHUNK)
                if not self._rest:
                    raise EOFError("the compressed data ends early")
            data, self._rest = self._rest, b""
            if found := self._stream.decompress(data, size):
                return found


class _Counted(io.RawIOBase):
    """What the archive unpacks to. ``allowed`` is the byte up to which it may be read now."""

    def __init__(self, raw: _Reads, limit: int, cancel: Cancel) -> None:
        self._raw, self._limit, self._cancel = raw, limit, cancel
        self.read_bytes, self.allowed, self.tail = 0, HEADERS + CHUNK, b""

    def allow(self, size: int) -> None:
        """Let ``size`` more bytes be read, and the headers that follow them."""
        self.allowed = min(self.read_bytes + size + HEADERS, self._limit)

    def read(self, size: int = CHUNK, /) -> bytes:
        self._cancel.check()
        data = bytes(self._raw.read(size))
        self.read_bytes += len(data)
        self.tail = (self.tail + data)[-tarfile.BLOCKSIZE :]
        if self.read_bytes > self.allowed:
            where = "in all" if self.allowed == self._limit else "of headers between two members"
            raise ValueError(f"found more bytes {where} than the {self.allowed} that are expected at most")
        return data


class _Compressed(io.FileIO):
    """The compressed file; reports how much of it was read."""

    def __init__(self, path: Path, on_bytes: OnBytes | None) -> None:
        super().__init__(path, "rb")
        self._total, self._on_bytes = path.stat().st_size, on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self._on_bytes is not None:
            self._on_bytes(self.tell(), self._total)
        return data


def _unpacked(file: _Compressed) -> _Reads:
    start = file.read(512)
    file.seek(0)
    kind = next((name for magic, name in _MAGIC if start.startswith(magic)), None)
    if kind == "xz":
        return _Xz(file)
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file, mode="rb")
    if kind == "zstd":
        zstd = zstandard.ZstdDecompressor(max_window_size=DICTIONARY)
        return zstd.stream_reader(file, read_across_frames=True)
    if kind == "bzip2":
        return bz2.BZ2File(file, "rb")
    if start[257:262] == b"ustar":
        return file
    web = start.lstrip()[:1] == b"<"
    raise ValueError("found " + ("a web page" if web else f"bytes {start[:8].hex()}") + ", expected a tar archive")


def extract(
    archive: Path,
    folder: Path,
    *,
    limits: Limits | None = None,
    on_bytes: OnBytes | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Extract what is below the archive's single top folder into ``folder``, which is made.

    tar, plain or compressed by xz, gzip, zstd or bzip2. Modes become 0755 or 0644, times in the
    future become now (make would warn). Raises HostError naming the member for one that is no
    file, folder or symbolic link inside the tree, and for a broken or too large archive; what
    was written until then is the caller's to remove. Raises OSError when ``folder`` cannot be written, Cancelled
    when ``cancel`` is set meanwhile.
    """
    limits = limits or Limits()
    with _Compressed(archive, on_bytes) as compressed, _broken(archive):
        source = _Counted(_unpacked(compressed), limits.total_bytes, cancel or Cancel())
        with tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK) as tar:
            _Tree(folder, limits).fill(tar, source)
        while source.read():  # to the end: the compressed file's own checksum is there
            source.allow(0)
        if source.tail.strip(b"\0"):
            raise EOFError("found no end-of-archive mark: it was cut")


@contextmanager
def _broken(archive: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as err:
        raise HostError(
            f"{archive.name}: not a source archive to use: {err}", fix="fetch it again; if it stays, use another source"
        ) from None


class _Tree:
    """The folder being filled."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits, self._now = str(folder), limits, int(time.time())
        self._top: str | None = None
        self._folders: set[str] = set()
        self._members = 0

    def fill(self, tar: tarfile.TarFile, source: _Counted) -> None:
        Path(self._folder).mkdir(parents=True, exist_ok=True)
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all it has seen
            self._members += 1
            if self._members > self._limits.members:
                raise ValueError(f"found more than {self._limits.members} members")
            source.allow(member.size if member.isreg() else 0)
            self._add(member, tar)
            source.allow(CHUNK)
        if not self._folders:
            raise ValueError("found no folder in it")

    def _add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        parts = self._parts(member)
        if member.isdir():
            self._make_folders(parts, member)
            return
        if not parts:
            raise _refused(member, "no folder", "all files below one top folder")
        self._make_folders(parts[:-1], member)
        path = "/".join((self._folder, *parts))
        try:
            if member.isreg() and not member.issparse():
                self._write(path, member, tar)
            elif member.issym():
                os.symlink(_inside(member, len(parts) - 1), path)  # noqa: PTH211
            else:
                raise _refused(member, _kind(member), "a file, folder or symbolic link")
        except FileExistsError:
            raise _refused(member, "the same name twice", "each name once") from None

    def _parts(self, member: tarfile.TarInfo) -> tuple[str, ...]:
        """The member's path below the top folder."""
        name = member.name
        if name.startswith("/") or len(name) > _PATH_MAX or not name.isprintable():
            raise _refused(member, "an absolute, overlong or unprintable name", "a path below one top folder")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or len(parts) > _DEPTH_MAX or any(len(part.encode()) > _NAME_MAX for part in parts):
            raise _refused(member, "'..' or an overlong name in it", "a path below one top folder")
        if not parts:
            return ()
        if self._top is None:
            self._top = parts[0]
        if parts[0] != self._top:
            raise _refused(member, f"a second top folder beside {self._top}", "all files below one top folder")
        return tuple(parts[1:])

    def _make_folders(self, parts: tuple[str, ...], member: tarfile.TarInfo) -> None:
        path = "/".join((self._folder, *parts))
        if path in self._folders:
            return
        if parts:
            self._make_folders(parts[:-1], member)
            try:
                os.mkdir(path, 0o755)  # noqa: PTH102
            except FileExistsError:  # a link or file made by an earlier member
                raise _refused(member, "something that is no folder in its way", "each name once") from None
        self._folders.add(path)

    def _write(self, path: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        if member.size > self._limits.file_bytes:
            raise _refused(member, f"{member.size} bytes", f"at most {self._limits.file_bytes}")
        content = tar.extractfile(member)
        assert content is not None, "a regular file has content"
        mode = 0o755 if member.mode & 0o100 else 0o644
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            left = member.size
            while left:
                data = content.read(min(left, CHUNK))
                if not data:
                    raise EOFError(f"member {member.name!r} ends early")
                file.write(data)
                left -= len(data)
            file.flush()
            os.fchmod(fd, mode)  # whatever the umask
            time_s = min(max(int(member.mtime), 0), self._now)
            os.utime(fd, (time_s, time_s))


def _inside(member: tarfile.TarInfo, depth: int) -> str:
    """A symbolic link's target, when it leads to a place in the tree; ``depth`` folders are above the link.

    ``..`` only at its start: those steps go up through real folders, and from there names lead down or through other
    links of the same kind.
    """
    parts = [part for part in member.linkname.split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    wrong = member.linkname.startswith("/") or not parts or up > depth or ".." in parts[up:]
    if wrong or len(member.linkname) > _PATH_MAX or not member.linkname.isprintable():
        raise _refused(member, f"a link to {member.linkname[:80]!r}", "a relative link inside the tree")
    return member.linkname


def _kind(member: tarfile.TarInfo) -> str:
    if member.islnk():
        return f"a hard link to {member.linkname[:80]!r}"
    if member.isdev():
        return "a device or pipe"
    return "a sparse file" if member.issparse() else f"a member of type {member.type!r}"


def _refused(member: tarfile.TarInfo, found: str, expected: str) -> ValueError:
    return ValueError(f"member {member.name[:120]!r}: found {found}, expected {expected}")
