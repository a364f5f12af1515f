"""The QEMU backend: TCG with a virtual clock (``icount``) or a thread per vCPU (``tcg``)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.cancel import Cancel
from ktstr.errors import InputError
from ktstr.tools.pinned import Tool
from ktstr.vm.machine import ANYWHERE, Guest, GuestSpec, Place
from ktstr.vm.qemu_args import ACCELS, PLACEHOLDERS, QemuAccel, Role, qemu_args
from ktstr.vm.steady import Steady

if TYPE_CHECKING:
    from ktstr.vm.qemu_launch import Launch
    from ktstr.vm.snapshot import Parked, Snapshot, Unparked

PROGRAM = "qemu-system-x86_64"


class QemuMachine:
    """Boots, parks and clones guests with one build of QEMU. ``accel`` is ``icount`` or ``tcg``; ``steady``: what is
    loaded into it to count instructions, None for ``tcg``."""

    def __init__(self, tool: Tool, accel: str, steady: Steady | None = None) -> None:
        self._accel = _known(accel)
        if (steady is None) != (self._accel == "tcg"):
            raise ValueError(f"accel={accel} {'without' if steady is None else 'with'} what makes it steady")
        self._tool, self._steady = tool, steady

    @property
    def accel(self) -> str:
        return self._accel

    @property
    def digest(self) -> str:
        if self._steady is None:
            return self._tool.digest
        return hashlib.sha256(f"{self._tool.digest} {self._steady.identity}".encode()).hexdigest()

    @property
    def label(self) -> str:
        return f"QEMU {self._tool.version} TCG"

    def command_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """The emulator's arguments, the same on every machine. Raises InputError as ``qemu_args``."""
        return self._line(spec, "clone" if spec.parks else "cold")

    def parking_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """The same of the machine that is parked."""
        return self._line(spec, "park")

    def start(
        self,
        spec: GuestSpec,
        workdir: Path,
        host_timeout_s: float,
        cancel: Cancel,
        place: Place = ANYWHERE,
        snapshot: Snapshot | None = None,
    ) -> Guest:
        """Start an emulator that dies with this process.

        Closed, the guest leaves ``console.log`` and ``channel.bin`` in ``workdir``, and ``emulator.log`` if the
        emulator printed anything. Raises InputError for a guest that cannot be described, HostError when the files
        cannot be written, no process can be started or it does not take the snapshot.
        """
        launch = self._launch(spec, workdir, host_timeout_s, cancel, place)
        return launch.boot() if snapshot is None else launch.clone(snapshot)

    def park(
        self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place = ANYWHERE
    ) -> Parked | Unparked:
        """Boot a machine and stop it where clones go on; files and errors as of ``start``."""
        from ktstr.vm.qemu_park import park

        return park(self._launch(spec, workdir, host_timeout_s, cancel, place))

    def _launch(self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place) -> Launch:
        from ktstr.vm.qemu_launch import Emulator, Launch  # 10 ms, and most runs have nothing to do

        self._line(spec, "cold")  # what cannot be described is found before anything is made
        emulator = Emulator(self._tool, self.label, self._accel, self._steady.path if self._steady else None)
        return Launch(emulator, spec, workdir.absolute(), host_timeout_s, cancel, place)

    def _line(self, spec: GuestSpec, role: Role) -> tuple[str, ...]:
        return (PROGRAM, *qemu_args(spec, self._accel, PLACEHOLDERS, role))


def _known(accel: str) -> QemuAccel:
    for known in ACCELS:
        if accel == known:
            return known
    raise InputError(f"accel={accel}: found a machine that QEMU is not, expected one of {', '.join(ACCELS)}")
