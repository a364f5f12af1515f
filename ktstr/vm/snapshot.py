"""A machine that was parked, to be cloned: its RAM and its devices' state in sealed memory files.

Nobody can change a sealed file any more (memfd_create(2), fcntl(2): F_ADD_SEALS), so that a clone starts from
exactly what was digested.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ktstr.errors import HostError
from ktstr.record.machine import VERDICT_EXITS, MachineEnd
from ktstr.vm.descriptors import memory_file

Kind: TypeAlias = Literal["booted", "attached"]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Bytes: TypeAlias = Annotated[int, Meta(ge=0)]

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_UNMAP_S = 5.0  # an emulator that was told to end unmaps its memory when it has
_UNMAP_POLL_S = 0.01


@dataclass(frozen=True)
class SnapshotFacts:
    """What a snapshot is, in bytes. ``booted``: before any scheduler; ``attached``: its scheduler runs.

    ``ram_digest``: over every page that is not all zeros (``snapshot_ram.RamDigest``), the same for the same RAM
    whichever pages are holes. ``pieces``: the size of each piece of RAM. ``data_bytes``: in pages with data.
    """

    kind: Kind
    ram_digest: Sha256
    pieces: tuple[Bytes, ...]
    data_bytes: Bytes

    @property
    def ram_bytes(self) -> int:
        return sum(self.pieces)


class Snapshot:
    """One that this process has open. ``close`` gives its memory back; clones have copies of their own.

    ``memory``: descriptors of sealed memory files, one for each piece of RAM in order; ``state``: that of the
    devices' state, sealed too; ``channel`` and ``console``: what the guest had said when it was parked.
    """

    def __init__(
        self, facts: SnapshotFacts, memory: tuple[int, ...], state: int, *, channel: bytes, console: bytes
    ) -> None:
        """Takes the descriptors over."""
        self.facts = facts
        self.memory = memory
        self.state = state
        self.channel = channel
        self.console = console
        self._closed = False

    def close(self) -> None:
        """Close the descriptors; again: nothing."""
        if not self._closed:
            self._closed = True
            for fd in (*self.memory, self.state):
                os.close(fd)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Parked:
    """A machine just parked. ``memory``: its memory files as it left them, made with MFD_ALLOW_SEALING; whoever is
    given this owns the descriptors. ``state``: of its devices."""

    kind: Kind
    memory: tuple[int, ...]
    state: bytes
    channel: bytes
    console: bytes


@dataclass(frozen=True)
class Unparked:
    """A machine that could not be parked: its guest ended first (``end``), or such a machine cannot be (``cold``
    says why). One of the two is None. ``channel`` and ``console``: what it left. ``real_time``: another made of the
    same inputs may do better."""

    end: MachineEnd | None
    cold: str | None
    channel: bytes
    console: bytes
    real_time: bool = False

    def __post_init__(self) -> None:
        if (self.end is None) == (self.cold is None):
            raise ValueError(f"found end={self.end!r} and cold={self.cold!r}, expected one of them")

    @property
    def lasting(self) -> bool:
        """Whether it would be so again: a fact about kernel, scheduler or machine, none about the host."""
        return not self.real_time and (self.end is None or self.end.reason in VERDICT_EXITS)


def seal(fd: int) -> None:
    """Let nobody write, grow or shrink a memory file any more.

    Waits a few seconds for a writable mapping to go. Raises HostError when it stays; ValueError for a file that
    cannot be sealed: it was not made with MFD_ALLOW_SEALING.
    """
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS:
        return
    deadline = time.monotonic() + _UNMAP_S
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            return
        except OSError as err:
            if err.errno == errno.EPERM:
                raise ValueError("found a memory file that cannot be sealed, expected MFD_ALLOW_SEALING") from None
            if err.errno != errno.EBUSY:
                raise
            if time.monotonic() > deadline:
                message = f"a parked machine's memory is still mapped for writing {_UNMAP_S:g} s after it was parked"
                raise HostError(message, fix="run the command again") from None
        time.sleep(_UNMAP_POLL_S)


def sealed_file(name: str, data: bytes) -> int:
    """A new sealed memory file with ``data``. Raises OSError."""
    fd = memory_file(name, len(data))
    try:
        write_at(fd, data, 0)
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_at(fd: int, data: bytes, offset: int) -> None:
    """All of ``data`` from ``offset`` on. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
