"""The QEMU backend: TCG with a virtual clock (``icount``) or a thread per vCPU (``tcg``)."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.files import full_or_denied
from ktstr.tools.pinned import Tool
from ktstr.vm.guest_files import CHANNEL, CONSOLE, limits, prepare, program_part
from ktstr.vm.guest_image import concatenate
from ktstr.vm.guest_memory import MemfdMemory, q35_layout
from ktstr.vm.machine import ANYWHERE, Guest, GuestSpec, Place
from ktstr.vm.process import Command, Process
from ktstr.vm.qemu_args import ACCELS, PLACEHOLDERS, VCPU_THREAD, QemuAccel, QemuFiles, qemu_args
from ktstr.vm.qemu_guest import INITRD, OUTPUT, RESET_LOG, RESET_LOG_CAP, QemuGuest, QemuRun, remove_inputs
from ktstr.vm.qmp import Qmp, connection
from ktstr.vm.watch import Watch

PROGRAM = "qemu-system-x86_64"
_NO_DESCRIPTOR = "ulimit -n 4096, or jobs=1"


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

    def start(
        self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place = ANYWHERE
    ) -> Guest:
        """Start an emulator that dies with this process.

        Closed, the guest leaves ``console.log`` and ``channel.bin`` in ``workdir``, and ``emulator.log`` if the
        emulator printed anything. Raises InputError for a guest that cannot be described, HostError when the files
        cannot be written or no process can be started.
        """
        workdir = workdir.absolute()
        self.command_line(spec)  # what cannot be described is found before anything is made
        with ExitStack() as stack:
            stack.callback(remove_inputs, workdir)
            _prepare(spec, workdir)
            memory = _memory(spec)
            stack.callback(memory.close)
            ours, theirs = _connection()
            monitor = Qmp(ours)
            stack.callback(monitor.close)
            with theirs:
                command = self._command(spec, workdir, memory.descriptors, theirs.fileno())
                held_to = limits(workdir, host_timeout_s, ((workdir / RESET_LOG, RESET_LOG_CAP),))
                watch = Watch(lambda: Process(command, held_to), held_to, cancel, place.cpus)
            stack.callback(watch.close)
            ran = QemuRun(self.label, spec.topology.cpus, workdir, tuple(command.argv))
            return QemuGuest(ran, watch, memory, monitor, stack.pop_all())

    def _command(self, spec: GuestSpec, workdir: Path, memory: tuple[int, ...], monitor: int) -> Command:
        files = QemuFiles(
            firmware=str(self._tool.data_dir),
            kernel=str(spec.kernel.absolute()),
            initrd=str(workdir / INITRD),
            console=str(workdir / CONSOLE),
            channel=str(workdir / CHANNEL),
            reset_log=str(workdir / RESET_LOG),
            memory=[f"/proc/self/fd/{fd}" for fd in memory],
            monitor=f"fd={monitor}",
        )
        return Command(
            argv=(*self._tool.argv_prefix, *qemu_args(spec, self._accel, files)),
            output=workdir / OUTPUT,
            env=self._tool.env,
            descriptors=(*memory, monitor),
            vcpu_threads=VCPU_THREAD if self._accel == "tcg" else None,
        )


def _known(accel: str) -> QemuAccel:
    for known in ACCELS:
        if accel == known:
            return known
    raise InputError(f"accel={accel}: found a machine that QEMU is not, expected one of {', '.join(ACCELS)}")


def _prepare(spec: GuestSpec, workdir: Path) -> None:
    """The initramfs in one file, and empty console and channel."""
    try:
        parts = (*spec.initrd_parts, *program_part(spec, workdir))
        concatenate(parts, workdir / INITRD)
        prepare(workdir)
    except OSError as err:
        if err.errno == errno.ENOENT and err.filename is not None:
            raise HostError(f"{err.filename}: is gone", fix="run the command again") from err
        raise full_or_denied(err, workdir, "KTSTR_RUNS_ROOT") from err


def _memory(spec: GuestSpec) -> MemfdMemory:
    try:
        return MemfdMemory(q35_layout(spec.topology, spec.memory_mib))
    except OSError as err:
        raise HostError(f"{spec.memory_mib} MiB of guest memory: {err.strerror}", fix=_NO_DESCRIPTOR) from err


def _connection() -> tuple[socket.socket, socket.socket]:
    try:
        return connection()
    except OSError as err:
        raise HostError(f"a socket to the emulator: {err.strerror}", fix=_NO_DESCRIPTOR) from err
