"""The QEMU backend: TCG with a virtual clock (``icount``) or a thread per vCPU (``tcg``)."""

from __future__ import annotations

from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import InputError
from ktstr.tools.pinned import Tool
from ktstr.vm.machine import ANYWHERE, Guest, GuestSpec, Place
from ktstr.vm.qemu_args import ACCELS, PLACEHOLDERS, QemuAccel, qemu_args

PROGRAM = "qemu-system-x86_64"


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
        from ktstr.vm.qemu_launch import Launch  # 10 ms, and most runs have nothing to do

        self.command_line(spec)  # what cannot be described is found before anything is made
        launch = Launch(self._tool, self.label, self._accel, spec, workdir.absolute())
        return launch.start(host_timeout_s, cancel, place)


def _known(accel: str) -> QemuAccel:
    for known in ACCELS:
        if accel == known:
            return known
    raise InputError(f"accel={accel}: found a machine that QEMU is not, expected one of {', '.join(ACCELS)}")
