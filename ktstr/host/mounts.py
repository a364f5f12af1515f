"""What is mounted where, in this process's mount namespace."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_OCTAL = re.compile(r"\\([0-3][0-7]{2})")


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo``: device as ``major:minor`` in decimal, mount point, type.

    ``root`` is what of the filesystem is mounted there; ``options`` are the filesystem's own.
    """

    device: tuple[int, int]
    point: str
    fstype: str
    root: str = "/"
    options: tuple[str, ...] = field(default=(), compare=False)


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Read ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)); lines of another shape are left out."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        major, colon, minor = fields[2].partition(":") if len(fields) > 5 else ("", "", "")
        if dash and colon and major.isdecimal() and minor.isdecimal():
            root, point = (_OCTAL.sub(lambda m: chr(int(m.group(1), 8)), name) for name in fields[3:5])
            options = tuple(kind[2].split(",")) if len(kind) > 2 else ()
            mounts.append(Mount((int(major), int(minor)), point, kind[0], root, options))
    return tuple(mounts)


def mount_of(path: Path, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that holds ``path``: the longest mount point above it, the latest of equals."""
    real = os.path.realpath(path)
    best: Mount | None = None
    for mount in mounts:
        inside = real == mount.point or real.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def read_mounts(root: Path = Path("/")) -> tuple[Mount, ...]:
    """The mounts now; none where they cannot be read. ``root`` is where ``proc`` is."""
    try:
        return parse_mountinfo((root / "proc/self/mountinfo").read_text(errors="replace"))
    except OSError:
        return ()
