"""Starting one guest of QEMU's: its files, its memory, and the emulator with both. It boots, or goes on as a clone of
a machine that was parked (``qemu_park``)."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.tools.pinned import Tool
from ktstr.vm import parts
from ktstr.vm.descriptors import above_standard
from ktstr.vm.guest_files import CHANNEL, CONSOLE, limits, prepare, run_parts
from ktstr.vm.guest_image import concatenate
from ktstr.vm.guest_memory import MemfdMemory, q35_layout
from ktstr.vm.machine import GuestEnded, GuestSpec, Place
from ktstr.vm.moments import ENVIRONMENT, Gate
from ktstr.vm.process import Command, Process
from ktstr.vm.qemu_args import VCPU_THREAD, QemuAccel, QemuFiles, Role, qemu_args
from ktstr.vm.qemu_guest import INITRD, OUTPUT, PROGRAM, RESET_LOG, RESET_LOG_CAP, QemuGuest, QemuRun, remove_inputs
from ktstr.vm.qmp import Qmp, QmpError, connection
from ktstr.vm.snapshot import Snapshot
from ktstr.vm.watch import Watch

_NO_DESCRIPTOR = "ulimit -n 4096, or jobs=1"
_REASON = 300  # characters of why a machine could not be moved
_SOON_S = 0.002  # how often a migration is asked whether it is over
# RAM stays in the files it is in: only the devices' state moves.
_CAPABILITIES = [{"capability": "x-ignore-shared", "state": True}]


@dataclass(frozen=True)
class Emulator:
    """What runs guests. ``label`` is what results call it; ``preload`` is loaded into it, None for nothing."""

    tool: Tool
    label: str
    accel: QemuAccel
    preload: Path | None

    def argv(self, preload: int | None) -> tuple[str, ...]:
        """How it is started, with ``preload`` open under this number: the loader takes a path with a space or a
        colon for several, and goes on without what is gone."""
        *loader, program = self.tool.argv_prefix
        return (*loader, *(() if preload is None else ("--preload", f"/proc/self/fd/{preload}")), program)


@dataclass(frozen=True)
class _Inherited:
    """The numbers of what the emulator inherits; ``preload``, ``state`` and ``gate`` are None where there is none."""

    memory: tuple[int, ...]
    monitor: int
    preload: int | None
    state: int | None
    gate: int | None

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (*self.memory, self.monitor, *(fd for fd in (self.preload, self.state, self.gate) if fd is not None))


@dataclass(frozen=True)
class Launch:
    """What one guest is started with. ``workdir`` is absolute."""

    emulator: Emulator
    spec: GuestSpec
    workdir: Path
    host_timeout_s: float
    cancel: Cancel
    place: Place

    def boot(self) -> QemuGuest:
        """A machine of its own."""
        return self.start("cold", self._pack, lambda monitor: None)

    def clone(self, snapshot: Snapshot) -> QemuGuest:
        """A machine that goes on where another was parked, and is handed its program."""

        def enter(monitor: Qmp) -> None:
            # Without rounds QEMU does not announce the machine's move, on a timer of the host's clock.
            monitor.execute("migrate-set-parameters", **{"announce-rounds": 0})
            # With its reason told, not by an exit.
            migrate(monitor, "migrate-incoming", f"file:/proc/self/fd/{snapshot.state}", **{"exit-on-error": False})
            if self.spec.watched:  # it stands still at once, before QEMU can answer
                monitor.tell("cont")
            else:
                monitor.execute("cont")

        return self.start("clone", lambda: self._continue(snapshot), enter, snapshot)

    def start(
        self,
        role: Role,
        write: Callable[[], None],
        enter: Callable[[Qmp], None],
        snapshot: Snapshot | None = None,
    ) -> QemuGuest:
        """The emulator in this role. ``write`` makes its files, ``enter`` speaks to it first; what ends meanwhile is
        a guest that has ended."""
        with ExitStack() as stack:
            stack.callback(remove_inputs, self.workdir)
            self._written(write)
            memory = self._memory(snapshot)
            stack.callback(memory.close)
            ours, theirs = _connection()
            monitor = Qmp(ours)
            stack.callback(monitor.close)
            gate = self._gate(role)
            if gate is not None:
                stack.callback(gate.close)
            with theirs, _opened(self.emulator.preload) as preload:
                state = None if snapshot is None else snapshot.state
                waits_at = None if gate is None else gate.theirs.fileno()
                inherited = _Inherited(memory.descriptors, theirs.fileno(), preload, state, waits_at)
                command = self._command(role, inherited)
                held_to = limits(self.workdir, self.host_timeout_s, ((self.workdir / RESET_LOG, RESET_LOG_CAP),))
                watch = Watch(lambda: Process(command, held_to), held_to, self.cancel, self.place.cpus)
            if gate is not None:
                gate.inherited()
            stack.callback(watch.close)
            run = QemuRun(
                self.emulator.label, self.emulator.accel, self.spec.topology.cpus, self.workdir, tuple(command.argv)
            )
            guest = QemuGuest(run, watch, memory, monitor, gate, stack.pop_all())
        try:
            guest.converse(enter, role)
        except GuestEnded:
            pass  # and its result says why
        except BaseException:
            guest.close()
            raise
        return guest

    def _pack(self) -> None:
        """The initramfs in one file, and empty console and channel."""
        self.pack(parks=False)

    def pack(self, *, parks: bool) -> None:
        """The same; without the program where the machine ``parks`` before that."""
        parts = (*self.spec.initrd_parts, *run_parts(self.spec, self.workdir, parks=parks))
        concatenate(parts, self.workdir / INITRD)
        prepare(self.workdir)

    def _continue(self, snapshot: Snapshot) -> None:
        prepare(self.workdir, snapshot.console, snapshot.channel)
        (self.workdir / PROGRAM).write_bytes(self.spec.program)

    def _written(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as err:
            if err.errno == errno.ENOENT and err.filename is not None:
                raise HostError(f"{err.filename}: is gone", fix="run the command again") from err
            raise full_or_denied(err, self.workdir, "KTSTR_RUNS_ROOT") from err

    def _memory(self, snapshot: Snapshot | None) -> MemfdMemory:
        """RAM of its own, readable by us until the guest is closed: a clone's begins as its original's was."""
        try:
            memory = MemfdMemory(q35_layout(self.spec.topology, self.spec.memory_mib))
            if snapshot is not None:
                try:
                    memory.fill(snapshot.memory)
                except BaseException:
                    memory.close()
                    raise
        except OSError as err:
            what = f"{self.spec.memory_mib} MiB of guest memory"
            raise HostError(f"{what}: {err.strerror}", fix=_NO_DESCRIPTOR) from err
        except ValueError as err:
            raise HostError(f"the parked machine is another than the guest: {err}", fix="doit cache shows it") from err
        return memory

    def _gate(self, role: Role) -> Gate | None:
        """What a machine of counted instructions that is watched waits at. Nobody looks at one that is parked."""
        if not self.spec.watched or self.emulator.accel != "icount" or role == "park":
            return None
        try:
            return Gate()
        except OSError as err:
            raise HostError(f"a socket to the emulator: {err.strerror}", fix=_NO_DESCRIPTOR) from err

    def _command(self, role: Role, inherited: _Inherited) -> Command:
        files = QemuFiles(
            firmware=str(self.emulator.tool.data_dir),
            kernel=str(self.spec.kernel.absolute()),
            initrd=str(self.workdir / INITRD),
            console=str(self.workdir / CONSOLE),
            channel=str(self.workdir / CHANNEL),
            reset_log=str(self.workdir / RESET_LOG),
            memory=[f"/proc/self/fd/{fd}" for fd in inherited.memory],
            monitor=f"fd={inherited.monitor}",
            program=str(self.workdir / PROGRAM),
        )
        accel = self.emulator.accel
        return Command(
            argv=(*self.emulator.argv(inherited.preload), *qemu_args(self.spec, accel, files, role)),
            output=self.workdir / OUTPUT,
            env={**self.emulator.tool.env, **({} if inherited.gate is None else {ENVIRONMENT: str(inherited.gate)})},
            descriptors=inherited.descriptors,
            vcpu_threads=VCPU_THREAD if accel == "tcg" else None,
        )


def migrate(monitor: Qmp, command: str, uri: str, **more: object) -> None:
    """Move the devices' state to or from a file, as ``command`` says. Blocks. Raises QmpError, and HostError when
    that cannot be."""
    monitor.execute("migrate-set-capabilities", capabilities=_CAPABILITIES)
    monitor.execute(command, uri=uri, **more)
    while (answer := _migration(monitor)).get("status") not in ("completed", "failed"):
        time.sleep(_SOON_S)
    if answer["status"] == "failed":
        reason = parts.printable(str(answer.get("error-desc") or "it gave no reason")[:_REASON])
        raise HostError(f"{command}: the emulator could not move a machine's state: {reason}")


def _migration(monitor: Qmp) -> dict[str, object]:
    answer = monitor.execute("query-migrate")
    if not isinstance(answer, dict):
        raise QmpError("the emulator answered query-migrate with what is no object")
    return answer


@contextmanager
def _opened(path: Path | None) -> Iterator[int | None]:
    """The number under which it can be inherited. Raises HostError."""
    if path is None:
        yield None
        return
    try:
        fd = above_standard(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as err:
        raise HostError(f"{path}: {err.strerror}", fix="run the command again, which makes it") from err
    try:
        yield fd
    finally:
        os.close(fd)


def _connection() -> tuple[socket.socket, socket.socket]:
    """Our end and the emulator's."""
    try:
        return connection()
    except OSError as err:
        raise HostError(f"a socket to the emulator: {err.strerror}", fix=_NO_DESCRIPTOR) from err
