"""Advisory whole-file locks (``flock``) with a timeout, and who holds them.

A lock file is never deleted by its users (``host.leftovers`` does, while it holds the lock) and its content means
nothing: the kernel drops the lock when the last descriptor closes, also when the holder is killed. Remote and FUSE
filesystems are refused, because there a lock may be granted to two hosts at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host.mounts import mount_of, read_mounts

POLL_S = 0.1
CMDLINE_MAX = 100
REMOTE_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "afs"})


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock."""

    pid: int
    cmdline: str

    def __str__(self) -> str:
        return f"pid={self.pid} cmd={self.cmdline}"


def parse_flock_pids(text: str, device: tuple[int, int], inode: int) -> tuple[int, ...]:
    """The holders of ``device``/``inode`` in the text of ``/proc/locks``, in order, each once.

    Only FLOCK lines count: waiters (``->``), POSIX and OFD locks are passed over. Words:
    ``ordinal: FLOCK ADVISORY WRITE pid major:minor:inode start end``, device in hexadecimal.
    """
    needle = f"{device[0]:02x}:{device[1]:02x}:{inode}"
    pids: dict[int, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == needle and words[4].isdecimal():
            pids[int(words[4])] = None
    return tuple(pids)


def command_line(pid: int) -> str:
    """What a process was started as, on one line of at most ``CMDLINE_MAX`` characters."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        raw = b""
    text = raw.decode("utf-8", "replace").replace("\0", " ").strip()
    if not text:
        return "<cmdline unavailable>"
    return text if len(text) <= CMDLINE_MAX else text[:CMDLINE_MAX] + "…"


def holders(path: Path) -> tuple[Holder, ...]:
    """Who holds a flock on ``path`` now; empty when nobody does or it cannot be known."""
    mount = mount_of(path, read_mounts())
    try:
        inode = path.stat().st_ino
        text = Path("/proc/locks").read_text(errors="replace")
    except OSError:
        return ()
    if mount is None:
        return ()
    return tuple(Holder(pid, command_line(pid)) for pid in parse_flock_pids(text, mount.device, inode))


def refuse_remote(path: Path) -> None:
    """Raise HostError when ``path`` (or the folder it will be in) is on a remote or FUSE filesystem."""
    mount = mount_of(path, read_mounts())
    kind = "" if mount is None else mount.fstype
    if kind in REMOTE_FILESYSTEMS or kind == "fuse" or kind.startswith("fuse."):
        raise HostError(
            f"lock {path}: the filesystem is {kind}, expected a local one: locks there do not exclude other hosts",
            fix="put the checkout, KTSTR_RUNS_ROOT and the cache on a local disk",
        )


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as err:
        raise full_or_denied(err, path, None, verb="opened") from err


def is_current(fd: int, path: Path) -> bool:
    """Whether ``path`` still names the file behind ``fd``: someone may have removed the folder."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def try_lock(path: Path, operation: int) -> int | None:
    """One try: a descriptor that holds the lock on the file now at ``path``, made when missing; or None.

    ``operation`` is LOCK_EX or LOCK_SH. Raises HostError when the file cannot be opened or locked.
    """
    fd = _open(path)
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
        if is_current(fd, path):
            return fd
    except OSError as e:
        if e.errno not in (errno.EWOULDBLOCK, errno.EINTR):
            os.close(fd)
            raise HostError(f"lock {path}: flock failed: {e.strerror}") from e
    os.close(fd)
    return None


def _timeout_error(path: Path, exclusive: bool, timeout_s: float) -> HostError:
    named = holders(path)
    mode = "exclusive" if exclusive else "shared"
    lines = "".join(f"\n  {h}" for h in named) or "\n  <none recorded>"
    return HostError(
        f"lock {path}: no {mode} lock within {timeout_s:g} s; held by:{lines}",
        fix="wait for that process to end, or end it",
    )


@contextmanager
def locked(path: Path, exclusive: bool = True, timeout_s: float = 30.0, cancel: Cancel | None = None) -> Iterator[None]:
    """Hold a flock on ``path`` (made when missing, with its folder) for the length of the block.

    Polls every 100 ms for at most ``timeout_s`` seconds; 0 tries once. The file stays. Raises
    HostError naming the holders on timeout, and for a remote filesystem or an unwritable folder; Cancelled
    when ``cancel`` is set before the lock is held, also for one that is free.
    """
    cancel = cancel or Cancel()
    cancel.check()
    refuse_remote(path)
    operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + timeout_s
    while (fd := try_lock(path, operation)) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _timeout_error(path, exclusive, timeout_s)
        cancel.wait(min(POLL_S, left))
        cancel.check()
    try:
        yield
    finally:
        os.close(fd)
