"""A snapshot as a folder of the cache: ``metadata.json``, written last, and the files it names with their digests.

``ram-0.zst`` and so on, one for each piece of RAM (``snapshot_ram``), ``state``, ``channel.bin`` and ``console.log``;
of a machine that could not be parked only the last two. Nothing read is trusted before it has been checked. No file
is sparse, so that a file system that cannot have sparse ones serves as well.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from ktstr.errors import InputError
from ktstr.files import file_sha256, parse_json, reason, refused
from ktstr.record.codec import ready
from ktstr.record.machine import MachineEnd
from ktstr.vm.snapshot import Bytes, Parked, Sha256, Snapshot, SnapshotFacts, Unparked, sealed_file
from ktstr.vm.snapshot_ram import PAGE, Damaged, RamDigest, pack, unpack

FORMAT = 1
METADATA = "metadata.json"
STATE = "state"
CHANNEL = "channel.bin"
CONSOLE = "console.log"
WORDS = (CHANNEL, CONSOLE)

_METADATA_CAP = 1 << 20
_FILE_CAP = 256 << 20  # of what is read as a whole: state, channel, console
_MAX_PIECES = 64
_MAX_RAM = 1 << 40  # the most that memory_mib takes
# The host lacks something; the files may be whole.
_OF_HOST = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EFBIG})

# Text for a terminal: without what moves its cursor.
Shown: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]{1,2000}$")]
StoredKind: TypeAlias = Literal["booted", "attached", "ended", "cold"]


class StoredFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file as it was written."""

    size: Bytes
    sha256: Sha256


class Metadata(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``metadata.json`` says. ``snapshot`` is None for a machine that could not be parked, for which either
    ``end`` or ``cold`` says why."""

    format: Annotated[int, Meta(ge=1)]
    key: str
    name: Shown
    snapshot: SnapshotFacts | None = None
    end: MachineEnd | None = None
    cold: Shown | None = None
    files: dict[str, StoredFile]

    @property
    def kind(self) -> StoredKind:
        if self.snapshot is not None:
            return self.snapshot.kind
        return "cold" if self.end is None else "ended"


@dataclass(frozen=True)
class Identity:
    """Which machine it is: the digest of all its inputs, and its name to people."""

    key: str
    name: str


def write_snapshot(folder: Path, identity: Identity, parked: Parked) -> SnapshotFacts:
    """Fill ``folder``; gives the facts, whose digest is made on the way. Raises OSError."""
    digest = RamDigest()
    for piece, fd in enumerate(parked.memory):
        pack(fd, piece, folder / _ram(piece), digest)
    facts = facts_of(parked, digest)
    (folder / STATE).write_bytes(parked.state)
    _write_rest(folder, parked.channel, parked.console)
    _write_metadata(folder, Metadata(format=FORMAT, key=identity.key, name=identity.name, snapshot=facts, files={}))
    return facts


def write_unparked(folder: Path, identity: Identity, machine: Unparked) -> None:
    """Fill ``folder``. Raises OSError."""
    _write_rest(folder, machine.channel, machine.console)
    metadata = Metadata(
        format=FORMAT, key=identity.key, name=identity.name, end=machine.end, cold=machine.cold, files={}
    )
    _write_metadata(folder, metadata)


def facts_of(parked: Parked, digest: RamDigest) -> SnapshotFacts:
    """The facts of a machine whose RAM has been digested."""
    pieces = tuple(os.fstat(fd).st_size for fd in parked.memory)
    return SnapshotFacts(parked.kind, digest.hexdigest(), pieces, digest.data_bytes)


def read_metadata(folder: Path) -> Metadata | None:
    """What the folder is said to hold; None when there is nothing.

    Raises Damaged, also for another format; HostError when this host has no descriptors left.
    """
    path = folder / METADATA
    if not os.path.lexists(path):
        if folder.is_dir():
            raise Damaged(f"{METADATA} is missing")
        return None
    try:
        with _reading(folder), _regular(path) as file:
            found = parse_json(file.read(_METADATA_CAP + 1), METADATA, _METADATA_CAP)  # one too many is refused
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            has = found.get("format") if isinstance(found, dict) else found
            raise Damaged(f"{METADATA} has the format {has!r:.40}, expected {FORMAT}")
        metadata = msgspec.convert(found, ready(Metadata))
    except InputError as err:
        raise Damaged(err.message) from None
    except msgspec.ValidationError as err:
        raise Damaged(f"{METADATA}: {err}") from None
    _check(metadata, folder.name)
    return metadata


def read_machine(folder: Path) -> Snapshot | Unparked | None:
    """What the folder holds, every byte verified and RAM unpacked; None when there is nothing.

    Raises Damaged; HostError when this host has no memory or descriptors left for it.
    """
    metadata = read_metadata(folder)
    if metadata is None:
        return None
    with _reading(folder):
        channel, console = (_read(folder, name, metadata.files[name]) for name in WORDS)
        if metadata.snapshot is None:
            return Unparked(metadata.end, metadata.cold, channel, console)
        return _unpacked(folder, metadata.snapshot, metadata.files, channel, console)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """What an OSError means: the files are damaged, or this host lacks something."""
    try:
        yield
    except OSError as err:
        if err.errno in _OF_HOST:
            raise refused(err, folder, None) from err
        raise Damaged(f"{Path(err.filename or folder).name} cannot be read: {reason(err)}") from None


def _unpacked(
    folder: Path, facts: SnapshotFacts, files: dict[str, StoredFile], channel: bytes, console: bytes
) -> Snapshot:
    digest = RamDigest()
    with ExitStack() as opened:
        memory: list[int] = []
        for piece, size in enumerate(facts.pieces):
            name = _ram(piece)
            with _opened(folder, name, files[name]) as file:
                try:
                    memory.append(unpack(file, piece, size, digest, facts.data_bytes))
                except Damaged as err:
                    raise Damaged(f"{name} {err}") from None
            opened.callback(os.close, memory[-1])
        if (digest.hexdigest(), digest.data_bytes) != (facts.ram_digest, facts.data_bytes):
            raise Damaged(f"its RAM has the digest {digest.hexdigest()}, expected {facts.ram_digest}")
        state = sealed_file("ktstr-state", _read(folder, STATE, files[STATE]))
        opened.pop_all()
    return Snapshot(facts, tuple(memory), state, channel=channel, console=console)


def _opened(folder: Path, name: str, stored: StoredFile) -> BufferedReader:
    """A file whose size and digest are those stored, at its beginning. Raises Damaged, OSError."""
    file = _regular(folder / name)
    try:
        size = os.fstat(file.fileno()).st_size
        if size != stored.size:
            raise Damaged(f"{name} has {size} bytes, expected {stored.size}")
        if hashlib.file_digest(file, "sha256").hexdigest() != stored.sha256:
            raise Damaged(f"{name} was altered: its digest is not the one stored")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _regular(path: Path) -> BufferedReader:
    """A file, opened. What lies there may be none of ours: a pipe would be waited for, a link leads elsewhere."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Damaged(f"{path.name} is no file")
    return os.fdopen(fd, "rb")


def _check(metadata: Metadata, key: str) -> None:
    """What the types cannot say. Raises Damaged."""
    facts = metadata.snapshot
    if metadata.key != key:
        raise Damaged(f"{METADATA} is of the key {metadata.key!r}")
    if [facts, metadata.end, metadata.cold].count(None) != 2:
        raise Damaged(f"{METADATA} says more than one of snapshot, end and cold, or none")
    if facts is not None:
        sound = all(size and size % PAGE == 0 for size in facts.pieces) and facts.ram_bytes <= _MAX_RAM
        if not sound or not 0 < len(facts.pieces) <= _MAX_PIECES:
            raise Damaged(f"{METADATA} has pieces of {facts.pieces} bytes")
        host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if facts.data_bytes > min(host, facts.ram_bytes):
            raise Damaged(f"{METADATA} has {facts.data_bytes} bytes of data, more than the guest or the host has")
    if set(metadata.files) != set(_names(facts)):
        raise Damaged(f"{METADATA} names the files {sorted(metadata.files)}, expected {sorted(_names(facts))}")
    if any(name in (STATE, *WORDS) and stored.size > _FILE_CAP for name, stored in metadata.files.items()):
        raise Damaged(f"{METADATA} has a file of more than {_FILE_CAP} bytes")


def _names(facts: SnapshotFacts | None) -> tuple[str, ...]:
    return WORDS if facts is None else (*(_ram(piece) for piece in range(len(facts.pieces))), STATE, *WORDS)


def _ram(piece: int) -> str:
    return f"ram-{piece}.zst"


def _read(folder: Path, name: str, stored: StoredFile) -> bytes:
    with _opened(folder, name, stored) as file:
        return file.read(stored.size)


def _write_rest(folder: Path, channel: bytes, console: bytes) -> None:
    (folder / CHANNEL).write_bytes(channel)
    (folder / CONSOLE).write_bytes(console)


def _write_metadata(folder: Path, metadata: Metadata) -> None:
    """With the files that are in the folder by now."""
    files = {name: _stored(folder / name) for name in _names(metadata.snapshot)}
    whole = msgspec.structs.replace(metadata, files=files)
    (folder / METADATA).write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")


def _stored(path: Path) -> StoredFile:
    return StoredFile(path.stat().st_size, file_sha256(path))
