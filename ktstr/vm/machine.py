"""The seam between a cell and whatever runs its guest.

A machine starts guests; a guest that runs can be watched, read, paused and ended. A backend reads nothing but its
inputs and writes only into ``workdir``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import HostError

if TYPE_CHECKING:  # what these import, planning does not need
    from ktstr.record.machine import MachineEnd
    from ktstr.vm.channel import Frame
    from ktstr.vm.guest_memory import GuestMemory
    from ktstr.vm.moments import Moment
    from ktstr.vm.performance import Performance
    from ktstr.vm.snapshot import Parked, Snapshot, Unparked

Registers: TypeAlias = Mapping[
    str, int
]  # of one vCPU, by lower-case name: rax to r15, rip, rflags, cr0, cr3, gs_base ...


@dataclass(frozen=True)
class GuestSpec:
    """What to boot. ``initrd_parts`` are cpio files, concatenated in order; memory in MiB.

    The agent does ``setup``, if there is one, then ``program``. Machines that differ in nothing but the program are
    parked between the two where ``parks``, and those that run a program are clones. ``performance``: undisturbed, on
    host CPUs of its own. ``cgroup_parent``: the cgroup below which the scenario's are made, None for the agent's own.
    ``watched``: whoever starts it follows its ``moments`` to its end; it changes nothing of what the guest does, and
    under counted instructions it stands still until they are.
    """

    kernel: Path
    initrd_parts: tuple[Path, ...]
    topology: Topology
    memory_mib: int
    kernel_args: tuple[str, ...] = ()
    setup: bytes = b""
    program: bytes = b""
    parks: bool = False
    performance: bool = False
    watched: bool = False
    cgroup_parent: str | None = None


@dataclass(frozen=True)
class Place:
    """Where on this host a guest runs. ``cpus``: those its threads may use, None for any; ``performance``: what
    performance mode planned, and then its vCPUs are on CPUs of their own and ``cpus`` serve them.
    """

    cpus: tuple[int, ...] | None = None
    performance: Performance | None = None


ANYWHERE = Place()


@dataclass(frozen=True)
class MachineResult:
    """How the machine ended, and the files it left: the raw channel bytes and the console."""

    end: MachineEnd
    channel: Path
    console: Path


class GuestEnded(HostError):
    """What was asked can only be had of a guest that runs."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: the guest has ended")


class Guest(Protocol):
    """A guest that runs, or has run: its memory can be read until it is closed, and leaving it as a context closes it.

    Any thread may call anything but ``close``, after which nothing else may be called. Under counted instructions
    (``accel=icount``) memory, registers and frames can be read at any time and change no byte of the run; ``pause``
    does change it.
    """

    @property
    def memory(self) -> GuestMemory: ...

    def ends_within(self, seconds: float) -> bool:
        """Block until it has ended, but no longer than this; whether it has."""
        ...

    def wait(self) -> MachineResult:
        """Block until it has ended, and say how. Raises what went wrong on the host meanwhile (OSError, HostError)."""
        ...

    def frames(self) -> Iterator[Frame]:
        """What it sends on the channel, from the first frame on, each as it comes; ends with the guest, or before the
        first byte that is no frame (``wait`` says what that was). At most KTSTR_MAX_CHANNEL_BYTES are read."""
        ...

    def moments(self) -> Iterator[Moment]:
        """The moments at which to look at it, each as it comes; ends with the guest. Under counted instructions, where
        it has to be started as ``watched``, it stands still from one until the next one is asked for, and then
        ``pause`` may not be called. One that was not started as watched has none there."""
        ...

    def registers(self) -> tuple[Registers, ...]:
        """Those of each vCPU. Under KVM all are of one moment, for which the guest stands still. Under QEMU it does
        not, and they are as of the vCPU's last exit from translated code. Raises HostError, GuestEnded."""
        ...

    def pause(self) -> None:
        """From the return on no guest code runs; the deadline does. Twice is once. Another run comes of it even under
        counted instructions, since the clocks go on at a moment of the host's. Raises HostError, GuestEnded."""
        ...

    def resume(self) -> None:
        """Raises HostError, GuestEnded."""
        ...

    def kill(self) -> None:
        """Ask for its end; its result's reason is ``killed`` unless it had ended. Raises nothing."""
        ...

    def close(self) -> None:
        """Kill it if it still runs, and give back all it holds. Twice is once."""
        ...

    def __enter__(self) -> Guest: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


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
        """The arguments that run the guest's program, with host paths left out: part of the cell's key."""
        ...

    def parking_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """The arguments of the machine that is parked for ``spec``, in the same way: part of the snapshot's key."""
        ...

    def start(
        self,
        spec: GuestSpec,
        workdir: Path,
        host_timeout_s: float,
        cancel: Cancel,
        place: Place = ANYWHERE,
        snapshot: Snapshot | None = None,
    ) -> Guest:
        """Start a guest: a clone of ``snapshot``, else by booting. Its deadline counts from here; ``cancel`` ends it
        early with reason ``killed``.

        Raises InputError for a guest that cannot be described, HostError when files cannot be written or the host
        refuses.
        """
        ...

    def park(
        self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place = ANYWHERE
    ) -> Parked | Unparked:
        """Boot a machine for ``spec``, do its setup, and stop it where clones go on. Blocks.

        Raises as ``start``.
        """
        ...
