"""Processes that a killed ktstr left: what its tethered commands started, such as compilers of a build.

The command itself dies with us (``host.tether``). What is in its session still, and bears its mark, was started for
that run alone; a daemon that went into a session of its own is somebody's, and is left in peace.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ktstr.host.flock import command_line
from ktstr.host.tether import MARK

_STATE, _SESSION, _STARTED = 0, 3, 19  # in /proc/PID/stat, behind the name (proc_pid_stat(5))


@dataclass(frozen=True)
class Marked:
    """A process with a mark. ``owner``: the ktstr that it was started for, and ``owned`` whether that still runs."""

    pid: int
    owner: int
    owned: bool
    cmdline: str


def marked() -> Iterator[Marked]:
    """Every process of this pid namespace that this user may look at, in the session of the command that it is of."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := look(int(entry.name))) is not None:
            yield found


def look(pid: int) -> Marked | None:
    """None for a process without a mark of this namespace, in another session than the mark's, or that ended."""
    words = _mark(pid)
    stat = _stat(pid)
    if words is None or stat is None or stat[_STATE] == "Z":
        return None
    owner, began, session, namespace = words
    if stat[_SESSION] != session or namespace != str(Path("/proc/self/ns/pid").readlink()):
        return None
    of = _stat(int(owner))
    owned = of is not None and of[_STARTED] == began and of[_STATE] != "Z"
    return Marked(pid, int(owner), owned, command_line(pid))


def end_orphan(pid: int) -> bool:
    """Kill it, if it still is one; whether it was."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        found = look(pid)  # what the descriptor names: the pid cannot be somebody else's meanwhile
        if found is None or found.owned:
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


def _mark(pid: int) -> list[str] | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    head = f"{MARK}=".encode()
    text = next((item[len(head) :] for item in environ.split(b"\0") if item.startswith(head)), b"")
    words = text.decode("utf-8", "replace").split()
    return words if len(words) == 4 and all(word.isdecimal() for word in words[:3]) else None


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
