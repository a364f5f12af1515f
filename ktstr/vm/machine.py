"""The seam between a cell and whatever runs its guest.

A backend boots one guest to its end and says how it ended. It reads nothing but its
inputs and writes only into ``workdir``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ktstr.config.topology import Topology
from ktstr.record.machine import MachineEnd


@dataclass(frozen=True)
class GuestSpec:
    """What to boot. ``initrd_parts`` are cpio files, concatenated in order; memory in MiB.

    ``program`` is what the agent runs; machines that differ in nothing else have the same ``alike``, so that
    one can start as a clone of another, and ``many`` says that more than one is wanted. Without ``alike``
    nothing is cloned. ``performance``: undisturbed, on host CPUs of its own.
    """

    kernel: Path
    initrd_parts: tuple[Path, ...]
    topology: Topology
    memory_mib: int
    kernel_args: tuple[str, ...] = ()
    program: bytes = b""
    alike: str = ""
    many: bool = False
    performance: bool = False


@dataclass(frozen=True)
class MachineResult:
    """How the machine ended, and the files it left: the raw channel bytes and the console."""

    end: MachineEnd
    channel: Path
    console: Path


class Machine(Protocol):
    """A backend. ``accel`` is its name in cells and sidecars."""

    @property
    def accel(self) -> str: ...

    @property
    def digest(self) -> str:
        """Identity of the emulator or VMM build: part of every cell's key."""
        ...

    @property
    def label(self) -> str:
        """What the sidecar calls it, version included."""
        ...

    def command_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """The machine's arguments with host paths left out: part of the cell's key."""
        ...

    def run(self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: threading.Event) -> MachineResult:
        """Boot and run to the end; ``cancel`` ends it early with reason ``killed``."""
        ...
