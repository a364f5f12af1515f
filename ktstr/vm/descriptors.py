"""File descriptors that a child inherits under their own numbers."""

from __future__ import annotations

import fcntl
import os

_FIRST = 3  # 0, 1 and 2 are the child's standard streams


def above_standard(fd: int) -> int:
    """``fd``, moved if it has a number of a standard stream, which a program that was started without those may get.

    No other process inherits it. Takes ``fd`` over: it is closed when it was moved, and when it cannot be (OSError).
    """
    if fd >= _FIRST:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    finally:
        os.close(fd)
