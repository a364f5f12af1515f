"""File descriptors that a child inherits under their own numbers, and files in memory."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator

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


def memory_file(name: str, size: int) -> int:
    """A new file in memory, ``size`` bytes of hole, that can be inherited and sealed. Raises OSError.

    Sized here: an emulator may write no file of that size.
    """
    fd = above_standard(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def data_extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of what is no hole in the first ``size`` bytes of a file, in order. Raises OSError."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as err:
            if err.errno == errno.ENXIO:  # only a hole follows
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
