"""The QEMU backend: TCG with a virtual clock (``icount``) or a thread per vCPU (``tcg``)."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from ktstr.errors import HostError, InputError
from ktstr.files import full_or_denied
from ktstr.record.cell import MachineEnd
from ktstr.tools.pinned import Tool
from ktstr.vm.guest_files import (
    CHANNEL,
    CONSOLE,
    CONSOLE_CAP,
    PROGRAM_PART,
    channel_cap,
    has_panicked,
    judge_end,
    left_in,
    prepare,
    program_part,
    tail,
)
from ktstr.vm.guest_image import concatenate
from ktstr.vm.machine import GuestSpec, MachineResult
from ktstr.vm.qemu_args import ACCELS, PLACEHOLDERS, VCPU_THREAD, QemuAccel, QemuFiles, qemu_args
from ktstr.vm.supervise import Ended, Limits, supervise

PROGRAM = "qemu-system-x86_64"
_INITRD, _OUTPUT, _RESET_LOG = "initrd.cpio", "emulator.log", "reset.log"
_RESET_LOG_CAP = 64 << 20  # bytes; about 1 KiB for each vCPU and reset


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
            for leftover in (_INITRD, PROGRAM_PART, _RESET_LOG):
                (workdir / leftover).unlink(missing_ok=True)
            if output.exists() and output.stat().st_size == 0:
                output.unlink()

    def _result(self, ended: Ended, argv: tuple[str, ...], workdir: Path) -> MachineResult:
        from ktstr.vm.ending import emulator_failure, fell_over

        failure = emulator_failure(ended, tail(workdir / _OUTPUT))
        left = left_in(workdir, failure, triple_fault=fell_over(tail(workdir / _RESET_LOG)))
        why, detail = judge_end(ended, left, workdir)
        end = MachineEnd(why, detail, ended.seconds, self.label, argv, host_dilation=ended.dilation)
        return MachineResult(end, workdir / CHANNEL, workdir / CONSOLE)


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
    """The initramfs in one file, and empty console and channel."""
    try:
        parts = (*spec.initrd_parts, *program_part(spec, workdir))
        concatenate(parts, workdir / _INITRD)
        prepare(workdir)
    except OSError as err:
        if err.errno == errno.ENOENT and err.filename is not None:
            raise HostError(f"{err.filename}: is gone", fix="run the command again") from err
        raise full_or_denied(err, workdir, "KTSTR_RUNS_ROOT") from err


def _limits(workdir: Path, seconds: float) -> Limits:
    capped = ((CHANNEL, channel_cap()), (CONSOLE, CONSOLE_CAP), (_RESET_LOG, _RESET_LOG_CAP))
    files = tuple((workdir / name, cap) for name, cap in capped)
    return Limits(seconds, files, lambda: has_panicked(workdir))
