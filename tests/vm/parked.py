"""Machines for the tests of their store: real memory files, of any content."""

from __future__ import annotations

import os
import random
from pathlib import Path

from ktstr.record.machine import ExitReason, MachineEnd
from ktstr.vm.snapshot import Parked, Unparked

PAGE = 4096
PIECE = 1024 * PAGE


def piece(pages: dict[int, bytes], size: int = PIECE) -> int:
    """A memory file as a machine leaves it: data at some pages, the rest holes."""
    fd = os.memfd_create("machine", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    for number, data in pages.items():
        os.pwrite(fd, data, number * PAGE)
    return fd


def pages(seed: int, count: int = 300) -> dict[int, bytes]:
    """Some pages of a piece, alone and in runs, that do not compress."""
    rng = random.Random(seed)
    return {number: rng.randbytes(PAGE) for number in sorted(rng.sample(range(PIECE // PAGE), count))}


def parked(seed: int = 1, count: int = 300) -> Parked:
    """A machine with two pieces of RAM, the second one with little in it."""
    memory = (piece(pages(seed, count)), piece(pages(seed + 1, 3)))
    return Parked("attached", memory, b"state %d" % seed, b"channel", b"console")


def ended(reason: ExitReason) -> Unparked:
    """A guest that ended before it could be parked."""
    return Unparked(MachineEnd(reason, "it died", 1.5, "qemu 10", ("qemu", "-m")), None, b"channel", b"panic!")


def content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def contents(machine: Parked) -> list[bytes]:
    """All RAM of a machine, which is given back."""
    try:
        return [content(fd) for fd in machine.memory]
    finally:
        for fd in machine.memory:
            os.close(fd)


def memory_files() -> int:
    """How many this process has open."""
    links = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    return sum(link.startswith("/memfd:") for link in links)
