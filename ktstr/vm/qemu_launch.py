"""Starting one guest of QEMU's: its files, its memory, and the emulator with both."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.tools.pinned import Tool
from ktstr.vm.guest_files import CHANNEL, CONSOLE, limits, prepare, program_part
from ktstr.vm.guest_image import concatenate
from ktstr.vm.guest_memory import MemfdMemory, q35_layout
from ktstr.vm.machine import GuestSpec, Place
from ktstr.vm.process import Command, Process
from ktstr.vm.qemu_args import VCPU_THREAD, QemuAccel, QemuFiles, qemu_args
from ktstr.vm.qemu_guest import INITRD, OUTPUT, RESET_LOG, RESET_LOG_CAP, QemuGuest, QemuRun, remove_inputs
from ktstr.vm.qmp import Qmp, connection
from ktstr.vm.watch import Watch

_NO_DESCRIPTOR = "ulimit -n 4096, or jobs=1"


@dataclass(frozen=True)
class Launch:
    """What one guest is started with. ``label`` is what its result calls the emulator; ``workdir`` is absolute."""

    tool: Tool
    label: str
    accel: QemuAccel
    spec: GuestSpec
    workdir: Path

    def start(self, host_timeout_s: float, cancel: Cancel, place: Place) -> QemuGuest:
        with ExitStack() as stack:
            stack.callback(remove_inputs, self.workdir)
            self._prepare()
            memory = self._memory()
            stack.callback(memory.close)
            ours, theirs = _connection()
            monitor = Qmp(ours)
            stack.callback(monitor.close)
            with theirs:
                command = self._command(memory.descriptors, theirs.fileno())
                held_to = limits(self.workdir, host_timeout_s, ((self.workdir / RESET_LOG, RESET_LOG_CAP),))
                watch = Watch(lambda: Process(command, held_to), held_to, cancel, place.cpus)
            stack.callback(watch.close)
            run = QemuRun(self.label, self.spec.topology.cpus, self.workdir, tuple(command.argv))
            return QemuGuest(run, watch, memory, monitor, stack.pop_all())

    def _prepare(self) -> None:
        """The initramfs in one file, and empty console and channel."""
        try:
            parts = (*self.spec.initrd_parts, *program_part(self.spec, self.workdir))
            concatenate(parts, self.workdir / INITRD)
            prepare(self.workdir)
        except OSError as err:
            if err.errno == errno.ENOENT and err.filename is not None:
                raise HostError(f"{err.filename}: is gone", fix="run the command again") from err
            raise full_or_denied(err, self.workdir, "KTSTR_RUNS_ROOT") from err

    def _memory(self) -> MemfdMemory:
        try:
            return MemfdMemory(q35_layout(self.spec.topology, self.spec.memory_mib))
        except OSError as err:
            what = f"{self.spec.memory_mib} MiB of guest memory"
            raise HostError(f"{what}: {err.strerror}", fix=_NO_DESCRIPTOR) from err

    def _command(self, memory: tuple[int, ...], monitor: int) -> Command:
        files = QemuFiles(
            firmware=str(self.tool.data_dir),
            kernel=str(self.spec.kernel.absolute()),
            initrd=str(self.workdir / INITRD),
            console=str(self.workdir / CONSOLE),
            channel=str(self.workdir / CHANNEL),
            reset_log=str(self.workdir / RESET_LOG),
            memory=[f"/proc/self/fd/{fd}" for fd in memory],
            monitor=f"fd={monitor}",
        )
        return Command(
            argv=(*self.tool.argv_prefix, *qemu_args(self.spec, self.accel, files)),
            output=self.workdir / OUTPUT,
            env=self.tool.env,
            descriptors=(*memory, monitor),
            vcpu_threads=VCPU_THREAD if self.accel == "tcg" else None,
        )


def _connection() -> tuple[socket.socket, socket.socket]:
    """Our end and the emulator's."""
    try:
        return connection()
    except OSError as err:
        raise HostError(f"a socket to the emulator: {err.strerror}", fix=_NO_DESCRIPTOR) from err
