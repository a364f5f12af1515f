"""The QEMU backend: TCG with a virtual clock (``icount``) or a thread per vCPU (``tcg``).

What reads a guest's words (and parses the C header for it) is imported by the first guest: planning needs
the command line only.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import HostError, InputError
from ktstr.host.deb import full_or_denied
from ktstr.results.record import MachineEnd
from ktstr.vm.image import concatenate
from ktstr.vm.machine import GuestSpec, MachineResult
from ktstr.vm.qemu_args import ACCELS, PLACEHOLDERS, VCPU_THREAD, QemuAccel, QemuFiles, qemu_args
from ktstr.vm.supervise import Ended, Limits, supervise
from ktstr.vm.tools import Tool

if TYPE_CHECKING:
    from ktstr.vm.ending import Left

CONSOLE, CHANNEL = "console.log", "channel.bin"
CONSOLE_CAP = 16 << 20
PROGRAM = "qemu-system-x86_64"
_INITRD, _OUTPUT, _RESET_LOG = "initrd.cpio", "emulator.log", "reset.log"
_RESET_LOG_CAP = 64 << 20  # bytes; about 1 KiB for each vCPU and reset
_TAIL = 256 << 10  # bytes of a text that are looked at
_NO_ROOM = 1 << 20  # bytes; below this the disk counts as full


class QemuMachine:
    """Boots guests with one build of QEMU. ``accel`` is ``icount`` or ``tcg``."""

    def __init__(self, tool: Tool, accel: str) -> None:
        self._tool = tool
        self._accel = _known(accel)

    @property
    def accel(self) -> str:
        return self._accel

    @property
    def digest(self) -> str:
        return self._tool.digest

    @property
    def label(self) -> str:
        return f"QEMU {self._tool.version} TCG"

    def command_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """The emulator's arguments, the same on every machine. Raises InputError as ``qemu_args``."""
        return (PROGRAM, *qemu_args(spec, self._accel, PLACEHOLDERS))

    def run(self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: threading.Event) -> MachineResult:
        """Boot and run to the end. Blocks the calling thread, with which the emulator would die.

        Leaves ``console.log`` and ``channel.bin`` in ``workdir``, and ``emulator.log`` if the emulator
        said anything. Raises InputError for a guest that cannot be described, HostError when the
        files cannot be written or no process can be started.
        """
        workdir = workdir.absolute()
        files = _files(self._tool, spec, workdir)
        argv = (*self._tool.argv_prefix, *qemu_args(spec, self._accel, files))
        output = workdir / _OUTPUT
        try:
            _prepare(spec, workdir)
            ended = supervise(
                argv, self._tool.env, output, _limits(workdir, host_timeout_s), cancel,
                VCPU_THREAD if self._accel == "tcg" else None,
            )  # fmt: skip
            return self._result(ended, argv, workdir)
        finally:
            for leftover in (_INITRD, _RESET_LOG):
                (workdir / leftover).unlink(missing_ok=True)
            if output.exists() and output.stat().st_size == 0:
                output.unlink()

    def _result(self, ended: Ended, argv: tuple[str, ...], workdir: Path) -> MachineResult:
        from ktstr.vm.ending import reason

        console, channel = workdir / CONSOLE, workdir / CHANNEL
        why, detail = reason(ended, _left(workdir))
        if why in ("channel_lost", "channel_garbage", "host_timeout") and _is_full(workdir):
            why, detail = "emulator_failed", f"the disk of {workdir} is full: what the guest said was lost"
        end = MachineEnd(why, detail, ended.seconds, self.label, argv, host_dilation=ended.dilation)
        return MachineResult(end, channel, console)


def _known(accel: str) -> QemuAccel:
    for known in ACCELS:
        if accel == known:
            return known
    raise InputError(f"accel={accel}: found a machine that QEMU is not, expected one of {', '.join(ACCELS)}")


def _files(tool: Tool, spec: GuestSpec, workdir: Path) -> QemuFiles:
    return QemuFiles(
        firmware=str(tool.data_dir),
        kernel=str(spec.kernel.absolute()),
        initrd=str(workdir / _INITRD),
        console=str(workdir / CONSOLE),
        channel=str(workdir / CHANNEL),
        reset_log=str(workdir / _RESET_LOG),
    )


def _prepare(spec: GuestSpec, workdir: Path) -> None:
    """The initramfs in one file, and empty console and channel: nothing of an earlier run is read."""
    try:
        concatenate(spec.initrd_parts, workdir / _INITRD)
        for name in (CONSOLE, CHANNEL):
            (workdir / name).write_bytes(b"")
    except OSError as err:
        if err.errno == errno.ENOENT and err.filename is not None:
            raise HostError(f"{err.filename}: is gone", fix="run the command again") from err
        raise full_or_denied(err, workdir, "KTSTR_RUNS_ROOT") from err


def _channel_cap() -> int:
    from ktstr.vm.protocol import lib

    cap: int = lib.KTSTR_MAX_CHANNEL_BYTES
    return cap


def _limits(workdir: Path, seconds: float) -> Limits:
    from ktstr.vm.ending import panic_in

    capped = ((CHANNEL, _channel_cap()), (CONSOLE, CONSOLE_CAP), (_RESET_LOG, _RESET_LOG_CAP))
    files = tuple((workdir / name, cap) for name, cap in capped)
    return Limits(seconds, files, lambda: panic_in(_tail(workdir / CONSOLE)) is not None)


def _left(workdir: Path) -> Left:
    from ktstr.vm.ending import Left
    from ktstr.vm.guest import read_channel

    with (workdir / CHANNEL).open("rb") as file:
        data = file.read(_channel_cap() + 1)
    record, error = read_channel(data)
    return Left(
        console=_tail(workdir / CONSOLE),
        emulator=_tail(workdir / _OUTPUT),
        reset_log=_tail(workdir / _RESET_LOG),
        guest=record,
        channel_error=error,
        channel_bytes=len(data),
    )


def _tail(path: Path) -> str:
    """The end of a file as text, at most ``_TAIL`` bytes; empty when there is none."""
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
