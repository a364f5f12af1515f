"""Starting one guest of the C VMM's: by booting it, or as a clone of a machine that was parked (``kvm_park``)."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.vm.delivery import pack
from ktstr.vm.guest_files import CHANNEL, CONSOLE, CONSOLE_CAP, RUN_PART, channel_cap, limits, prepare, run_parts
from ktstr.vm.guest_memory import vmm_layout
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.kvm_guest import KvmGuest, Started
from ktstr.vm.kvm_run import Origin, VmmRun
from ktstr.vm.machine import GuestSpec, Place
from ktstr.vm.vmm import Vmm, VmmConfig
from ktstr.vm.vmm_build import load_vmm
from ktstr.vm.watch import Watch

if TYPE_CHECKING:
    from ktstr.vm.snapshot import Snapshot


@dataclass(frozen=True)
class Launch:
    """What one guest is started with. ``command`` and ``label`` are what its result says of it; ``began`` is of
    ``time.monotonic``: its deadline counts from there."""

    extension: Path
    label: str
    command: tuple[str, ...]
    spec: GuestSpec
    workdir: Path
    host_timeout_s: float
    cancel: Cancel
    place: Place
    began: float = field(default_factory=time.monotonic)

    def boot(self, *, parks: bool = False) -> KvmGuest:
        """A machine of its own; one that ``parks`` waits for its program when its setup is done."""
        prepare(self.workdir)
        with ExitStack() as stack:
            stack.callback((self.workdir / RUN_PART).unlink, missing_ok=True)
            parts = (*self.spec.initrd_parts, *run_parts(self.spec, self.workdir, parks=parks))
            config = replace(
                self._config(),
                kernel=self.spec.kernel.absolute(),
                initrd=parts,
                command_line=kernel_command_line(self.spec, "kvm", parks=parks),
            )
            return self._start(config, None, stack)

    def clone(self, snapshot: Snapshot) -> KvmGuest:
        """A machine that goes on where another was parked, and gets its program, the time, and randomness that no other
        clone has. The snapshot's descriptors may be closed when it has started."""
        prepare(self.workdir, snapshot.console, snapshot.channel)
        (memory,) = snapshot.memory  # of all nodes
        config = replace(self._config(), snapshot=(memory, snapshot.state))
        delivery = pack(self.spec.program, os.urandom(64), time.time_ns())
        with ExitStack() as stack:
            return self._start(config, delivery, stack)

    def _config(self) -> VmmConfig:
        config = VmmConfig(
            kernel=None,
            topology=self.spec.topology,
            memory_mib=self.spec.memory_mib,
            console_limit=CONSOLE_CAP + 1,  # so that one that reached it is larger than it may be
            channel_limit=channel_cap() + 1,
        )
        plan = self.place.performance
        if plan is None:
            return config
        return replace(
            config, flags=plan.flags, pin=plan.pin, node_masks=plan.node_masks, fifo_priority=plan.fifo_priority
        )

    def _start(self, config: VmmConfig, delivery: bytes | None, held: ExitStack) -> KvmGuest:
        """A machine that writes behind what console and channel have already; they outlive it."""
        library = _library(self.extension)
        console = held.enter_context((self.workdir / CONSOLE).open("ab"))
        channel = held.enter_context((self.workdir / CHANNEL).open("ab"))
        config = replace(config, console_fd=console.fileno(), channel_fd=channel.fileno())
        cpus = self.spec.topology.cpus

        def begin() -> VmmRun:
            return VmmRun(held.enter_context(Vmm(library, config)), Origin(cpus, self.place, delivery))

        left = self.began + self.host_timeout_s - time.monotonic()
        watch = Watch(begin, limits(self.workdir, left), self.cancel, self.place.cpus)
        held.callback(watch.close)
        layout = vmm_layout(self.spec.topology, self.spec.memory_mib)
        started = Started(self.label, self.command, self.workdir, cpus, layout, self.began)
        return KvmGuest(started, watch, held.pop_all())


@cache
def _library(path: Path) -> Any:
    """The extension, imported once: a module cannot be unloaded."""
    if not path.is_file():
        raise HostError(f"{path}: is gone", fix="run the command again")
    return load_vmm(path)
