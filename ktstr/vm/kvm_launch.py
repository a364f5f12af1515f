"""Starting one guest of the C VMM's: by booting it, as a clone of a machine that has booted, or by making that one."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.vm.delivery import WAIT_ARGUMENT, is_ready, pack
from ktstr.vm.guest_files import (
    CHANNEL,
    CONSOLE,
    CONSOLE_CAP,
    PROGRAM_PART,
    channel_cap,
    limits,
    prepare,
    program_part,
)
from ktstr.vm.guest_memory import vmm_layout
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.kvm_guest import KvmGuest, Started
from ktstr.vm.kvm_run import Origin, VmmRun
from ktstr.vm.machine import GuestSpec, Place
from ktstr.vm.snapshots import Snapshot
from ktstr.vm.vmm import Vmm, VmmConfig, VmmError
from ktstr.vm.vmm_build import load_vmm
from ktstr.vm.watch import Watch

_SOON_S = 0.01  # how often a machine that boots is asked whether its agent waits


@dataclass
class Launch:
    """What one guest is started with. ``command`` and ``label`` are what its result says of it; ``deadline`` is of
    ``time.monotonic``. ``warnings`` become the guest's."""

    extension: Path
    label: str
    command: tuple[str, ...]
    spec: GuestSpec
    workdir: Path
    host_timeout_s: float
    cancel: Cancel
    place: Place
    began: float = field(default_factory=time.monotonic)
    warnings: list[str] = field(default_factory=list)

    def boot(self) -> KvmGuest:
        with ExitStack() as stack:
            stack.callback((self.workdir / PROGRAM_PART).unlink, missing_ok=True)
            parts = (*self.spec.initrd_parts, *program_part(self.spec, self.workdir))
            return self._start(self._config(parts, self.place), self._origin(self.place), stack)

    def clone(self, snapshot: Snapshot, held: ExitStack) -> KvmGuest:
        """A clone, which gets its program, the time, and randomness that no other clone has. ``held`` becomes its
        own, unless VmmError is raised: with EINVAL for a snapshot of another machine."""
        (self.workdir / CHANNEL).write_bytes(snapshot.channel.read_bytes())
        (self.workdir / CONSOLE).write_bytes(snapshot.console.read_bytes())
        files = held.enter_context(snapshot.opened())
        config = replace(self._config((), self.place), kernel=None, snapshot=files)
        delivery = pack(self.spec.program, os.urandom(64), time.time_ns())
        return self._start(config, self._origin(self.place, delivery), held)

    def template(self, folder: Path) -> bool:
        """Boot a machine that waits for its program, and keep it in ``folder``; False when it does not come so far."""
        place = Place(self.place.cpus)
        config = self._config(self.spec.initrd_parts, place)
        config = replace(config, command_line=f"{config.command_line} {WAIT_ARGUMENT}")
        try:
            with ExitStack() as stack, self._start(config, self._origin(place), stack) as guest:
                return self._comes_to_wait(guest) and self._keep(guest.vmm, Snapshot(folder))
        finally:
            for name in (CHANNEL, CONSOLE):
                shutil.copyfile(self.workdir / name, folder / name)  # the cache may be another filesystem
            prepare(self.workdir)

    def _comes_to_wait(self, guest: KvmGuest) -> bool:
        while not is_ready((self.workdir / CHANNEL).read_bytes()):
            if guest.ends_within(_SOON_S):
                return False
        return True

    def _keep(self, vmm: Vmm, snapshot: Snapshot) -> bool:
        """False, and a warning in the sidecar, where this host or this moment does not allow it."""
        try:
            with snapshot.created() as files:
                vmm.snapshot(*files)
        except VmmError as err:
            self.warnings.append(f"no clone: {err.message}")
            return False
        return True

    def _origin(self, place: Place, delivery: bytes | None = None) -> Origin:
        return Origin(self.spec.topology.cpus, place, delivery, tuple(self.warnings))

    def _config(self, parts: tuple[Path, ...], place: Place) -> VmmConfig:
        config = VmmConfig(
            kernel=self.spec.kernel.absolute(),
            topology=self.spec.topology,
            memory_mib=self.spec.memory_mib,
            initrd=parts,
            command_line=kernel_command_line(self.spec, "kvm"),
            console_limit=CONSOLE_CAP + 1,  # so that one that reached it is larger than it may be
            channel_limit=channel_cap() + 1,
        )
        plan = place.performance
        if plan is None:
            return config
        return replace(
            config, flags=plan.flags, pin=plan.pin, node_masks=plan.node_masks, fifo_priority=plan.fifo_priority
        )

    def _start(self, config: VmmConfig, origin: Origin, held: ExitStack) -> KvmGuest:
        """A machine that writes behind what console and channel have already; they outlive it."""
        library = _library(self.extension)
        console = held.enter_context((self.workdir / CONSOLE).open("ab"))
        channel = held.enter_context((self.workdir / CHANNEL).open("ab"))
        config = replace(config, console_fd=console.fileno(), channel_fd=channel.fileno())

        def begin() -> VmmRun:
            return VmmRun(held.enter_context(Vmm(library, config)), origin)

        left = self.began + self.host_timeout_s - time.monotonic()
        watch = Watch(begin, limits(self.workdir, left), self.cancel, origin.place.cpus)
        held.callback(watch.close)
        layout = vmm_layout(self.spec.topology, self.spec.memory_mib)
        started = Started(self.label, self.command, self.workdir, origin.cpus, layout, self.began)
        return KvmGuest(started, watch, held.pop_all())


@cache
def _library(path: Path) -> Any:
    """The extension, imported once: a module cannot be unloaded."""
    if not path.is_file():
        raise HostError(f"{path}: is gone", fix="run the command again")
    return load_vmm(path)
