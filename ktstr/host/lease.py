"""Leases: who is working in a folder that processes of several containers, or of several hosts, share.

A lease is a file that lies beside what it covers. Its holder keeps an exclusive flock on it; it says who that is, and
its time of change is the heartbeat, renewed every ``BEAT_S`` seconds. What is left of a holder that is gone may be
removed by anyone:

- Where the lease names this boot of this kernel the flock alone decides, at once and without a guess: the kernel
  drops it with the holder, and it is seen from every container, in whatever pid namespace. A bare pid is not: in
  another namespace it names nobody, or somebody else.
- A lease of another boot, or of another host that sees the same disk (virtiofs, a disk moved between machines),
  holds no flock here. Its holder is taken for gone when the heartbeat is ``LIMIT_S`` old: long enough for clocks
  that differ and a host that stands still for minutes. A holder suspended for longer loses what it did.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host.flock import is_current, try_lock
from ktstr.host.identity import boot_id

BEAT_S = 30.0
LIMIT_S = 600.0
TAKE_S = 5.0
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class LeaseHolder:
    """Who holds a lease. ``boot_id`` is new at each boot of a kernel; ``pid`` counts in ``pid_namespace`` alone."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int


def myself() -> LeaseHolder:
    """This process. Raises OSError where /proc does not have it."""
    return LeaseHolder(os.uname().nodename, boot_id(), str(Path("/proc/self/ns/pid").readlink()), os.getpid())


@contextmanager
def leased(path: Path) -> Iterator[None]:
    """Hold the lease ``path`` for the length of the block; its folder is there. Afterwards it is gone.

    Raises HostError when somebody else has it, or it cannot be written or locked.
    """
    if (fd := _born_signed(path)) is None:
        fd = _take(path)
    over = threading.Event()
    try:
        threading.Thread(target=_beat, args=(path, over), name="lease", daemon=True).start()
        yield
    finally:
        over.set()
        _drop(fd, path)


def _born_signed(path: Path) -> int | None:
    """A lease that is signed before it has a name: what is killed at any moment leaves none that only time can tell of.
    None where the filesystem cannot do that, or the name is taken."""
    with suppress(OSError, HostError), ExitStack() as opened:
        folder = os.open(path.parent, os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, folder)
        fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        opened.callback(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX)
        _sign(fd, path)
        os.link(f"/proc/self/fd/{fd}", path.name, dst_dir_fd=folder)  # with a folder's fd the link is followed
        return os.dup(fd)
    return None


def _sign(fd: int, path: Path) -> None:
    try:
        os.pwrite(fd, json.dumps(asdict(myself())).encode() + b"\n", 0)
    except OSError as err:
        raise full_or_denied(err, path, None) from err


def _take(path: Path) -> int:
    """Made first, and signed then. A sweeper may have it for a moment, before it removes the file, or one of that name
    a moment ago."""
    deadline = time.monotonic() + TAKE_S
    while (fd := try_lock(path, fcntl.LOCK_EX)) is None:
        if time.monotonic() > deadline:
            raise HostError(f"lease {path}: somebody else has it", fix="doit clean, when nothing of ktstr runs here")
        time.sleep(0.02)
    try:
        _sign(fd, path)
    except BaseException:
        _drop(fd, path)
        raise
    return fd


def _drop(fd: int, path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
    os.close(fd)


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with suppress(OSError):
            os.utime(path)


@contextmanager
def lapsed(path: Path) -> Iterator[bool]:
    """Whether the holder of the lease ``path`` is gone; for the length of the block nobody can take it.

    Whoever removes what it covers removes the lease last. False too for a lease that is not there or cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = is_current(fd, path)
    except OSError:
        free = False
    try:
        yield free and (_of_this_boot(fd) or is_old(os.fstat(fd).st_mtime))
    finally:
        os.close(fd)


def is_old(changed: float) -> bool:
    """Whether a heartbeat at that time (Unix, s) is too old for its holder to be there."""
    return time.time() - changed > LIMIT_S


def _of_this_boot(fd: int) -> bool:
    try:
        return bool(json.loads(os.pread(fd, _MAX_BYTES, 0))["boot_id"] == myself().boot_id)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
