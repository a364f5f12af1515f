"""What asker and workers say to each other. It travels as bytes inside Dask's own messages: what comes out of them is
checked here, so that no object of the other side's making is built from it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from ktstr.cells.job import ArtifactRef, CellJob, CellResult, JobError
from ktstr.cluster.pieces import pack, unpacked
from ktstr.errors import HostError, KtstrError
from ktstr.record.codec import ready

T = TypeVar("T")
CPU, MEM, KVM = "CPU", "MEM", "KVM"  # Dask's resources: CPUs, MiB, and guests on KVM at once
INLINE = 1 << 20  # bytes of the largest file that comes with its result; others are asked for piece by piece


class Need(Struct, frozen=True, forbid_unknown_fields=True):
    """An artifact that a job needs, and the digest of its manifest: of all bytes of the entry."""

    ref: ArtifactRef
    digest: str


class Ask(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job for a worker. ``ticket``: this submission's own word, which the worker's announcements carry and its result
    is kept under; ``version``: of the asker's ktstr."""

    job: CellJob
    needs: tuple[Need, ...]
    ticket: str
    version: str


class OutFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a run left, compressed; ``data`` None for one that is asked for by itself. ``size`` in bytes."""

    name: str
    size: int
    data: bytes | None = None


class Lacking(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The worker has not all that the job needs: nothing was run."""

    refs: tuple[ArtifactRef, ...]


class Done(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """What came of a job. ``kept``: the name under which the worker keeps it until it is told that it arrived, None for
    what is not kept."""

    result: CellResult
    files: tuple[OutFile, ...] = ()
    kept: str | None = None


class WantedPiece(Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of an entry that has to be sent, by its digest, and where in the entry it is."""

    digest: str
    path: str
    index: int


class Offered(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """What a worker says to an entry that it is offered: what it found in its place (``arrival.Lacking``), the files
    that differ, and the pieces that it wants. ``whole``: it has all of it now."""

    found: str
    differing: tuple[str, ...]
    pieces: tuple[WantedPiece, ...]
    whole: bool


class Failed(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Why the worker could not do what it was asked."""

    error: JobError


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """What a call gave: ``value``, itself a message, unless there is an ``error``."""

    value: bytes = b""
    error: JobError | None = None


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """A worker's answer to a job; ``at``: Dask's address of it."""

    at: str
    body: Done | Lacking | Failed


def encode(message: object) -> bytes:
    """A message as bytes."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """A message from bytes. Raises HostError for anything else: the other side is another ktstr, or broken."""
    try:
        return msgspec.msgpack.decode(data, type=ready(kind))
    except (msgspec.DecodeError, KtstrError, ValueError) as err:
        raise HostError(f"found a message that is no {kind.__name__}: {err}", fix="doit doctor cluster=...") from None


def opened(answer: object, kind: type[T]) -> T:
    """What is in an ``Answer``. Raises HostError: with the worker's words where it could not do what it was asked, and
    as ``decode``."""
    found = decode(answer if isinstance(answer, bytes) else b"", Answer)
    if found.error is not None:
        raise HostError(found.error.message, fix=found.error.fix)
    return decode(found.value, kind)


def parts_of(error: KtstrError) -> JobError:
    """An error as it travels."""
    return JobError(error.message, error.fix, error.exit_code)


def pack_files(folder: Path) -> tuple[OutFile, ...]:
    """The regular files of a folder, those that are hidden left out: small ones with their bytes. Raises OSError."""
    files = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            size = path.stat().st_size
            files.append(OutFile(path.name, size, pack(path.read_bytes()) if size <= INLINE else None))
    return tuple(files)


def unpack_file(file: OutFile) -> bytes:
    """The bytes of a file that came along. Raises HostError for one that is not what it says."""
    assert file.data is not None
    data = unpacked(file.data, file.size) if file.size <= INLINE else None
    if data is None or len(data) != file.size:
        raise HostError(f"{file.name}: what a worker sent of it is damaged", fix="run the command again")
    return data


def check_name(name: str) -> str:
    """The name of a file in a folder. Raises HostError for what would be elsewhere."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name) > 255:
        raise HostError(f"found a file called {name[:80]!r}, expected a plain name")
    return name
