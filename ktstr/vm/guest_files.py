"""The files of one guest's machine: the program it is given, its console, and the channel with what the agent said.

What reads a guest's words (and parses the C header for it) is imported by the first guest: planning
does not need it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.record.machine import ExitReason
from ktstr.vm.machine import GuestSpec
from ktstr.vm.watch import Ended, Limits

if TYPE_CHECKING:
    from ktstr.vm.ending import Left

CONSOLE, CHANNEL, RUN_PART = "console.log", "channel.bin", "run.cpio"
CONSOLE_CAP = 16 << 20  # bytes
_TAIL = 256 << 10  # bytes of a text that are looked at
_NO_ROOM = 1 << 20  # bytes; below this the disk counts as full
_CUT_SHORT = frozenset({"channel_lost", "channel_garbage", "host_timeout"})  # what a full disk looks like


def channel_cap() -> int:
    """The most bytes that the agent may send."""
    from ktstr.vm.protocol import lib

    cap: int = lib.KTSTR_MAX_CHANNEL_BYTES
    return cap


def limits(workdir: Path, seconds: float, more: tuple[tuple[Path, int], ...] = ()) -> Limits:
    """What any guest is held to: ``seconds`` of host time, what it may write, and ``more`` files of its machine's."""
    files = ((workdir / CHANNEL, channel_cap()), (workdir / CONSOLE, CONSOLE_CAP), *more)
    return Limits(seconds, files, lambda: has_panicked(workdir))


def prepare(workdir: Path, console: bytes = b"", channel: bytes = b"") -> None:
    """Console and channel as they begin: empty, or with what a clone's original had said. Raises OSError."""
    (workdir / CONSOLE).write_bytes(console)
    (workdir / CHANNEL).write_bytes(channel)


def run_parts(spec: GuestSpec, workdir: Path, *, parks: bool = False) -> tuple[Path, ...]:
    """The part of the initramfs with what the guest is to do, written; without its program where it ``parks`` before
    that. None where there is nothing. Raises OSError."""
    from ktstr.vm.guest_image import run_part

    program = b"" if parks else spec.program
    if not spec.setup and not program:
        return ()
    (workdir / RUN_PART).write_bytes(run_part(spec.setup, program))
    return (workdir / RUN_PART,)


def left_in(workdir: Path, failure: str | None, *, triple_fault: bool) -> Left:
    """What a machine left, read and bounded."""
    from ktstr.vm.ending import Left
    from ktstr.vm.messages import read_channel

    with (workdir / CHANNEL).open("rb") as file:
        data = file.read(channel_cap() + 1)
    record, error = read_channel(data)
    return Left(tail(workdir / CONSOLE), failure, triple_fault, record, error, len(data))


def judge_end(ended: Ended, left: Left, workdir: Path) -> tuple[ExitReason, str]:
    """Why the machine ended (see ``ending.reason``), or that the disk was full and what it said was lost."""
    from ktstr.vm.ending import reason

    why, detail = reason(ended, left)
    if why in _CUT_SHORT and _is_full(workdir):
        return "emulator_failed", f"the disk of {workdir} is full: what the guest said was lost"
    return why, detail


def has_panicked(workdir: Path) -> bool:
    """Whether the console shows a panic."""
    from ktstr.vm.ending import panic_in

    return panic_in(tail(workdir / CONSOLE)) is not None


def tail(path: Path) -> str:
    """The end of a file as text, at most 256 KiB; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read(_TAIL).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""


def _is_full(folder: Path) -> bool:
    try:
        stats = os.statvfs(folder)
    except OSError:
        return False
    return stats.f_bavail * stats.f_frsize < _NO_ROOM
