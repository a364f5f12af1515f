"""The KVM backend: guests run in this process, on threads of the C VMM. A guest may start as a clone of a machine
that has booted already (``snapshots``)."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from pathlib import Path

import ktstr
from ktstr.cancel import Cancel
from ktstr.files import full_or_denied
from ktstr.vm.guest_files import prepare
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.kvm_guest import KvmGuest
from ktstr.vm.kvm_launch import Launch
from ktstr.vm.machine import ANYWHERE, Guest, GuestSpec, Place
from ktstr.vm.snapshots import Snapshots
from ktstr.vm.vmm import VmmError
from ktstr.vm.vmm_build import Extension

_PROGRAM = "ktstr-vmm"


class KvmMachine:
    """Boots guests on KVM. ``snapshots``: where booted machines are kept to be cloned, None to boot each."""

    def __init__(self, extension: Extension, snapshots: Snapshots | None = None) -> None:
        self._extension, self._snapshots = extension, snapshots
        self._unkept: set[str] = set()  # keys of machines that could not be kept: they are booted each time

    @property
    def accel(self) -> str:
        return "kvm"

    @property
    def digest(self) -> str:
        return self._extension.digest

    @property
    def label(self) -> str:
        return f"ktstr VMM {ktstr.__version__} KVM"

    def command_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """What the machine is, for a cell's key. Raises InputError for a kernel argument that cannot be passed."""
        return _describe(spec, kernel_command_line(spec, self.accel))

    def start(
        self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place = ANYWHERE
    ) -> Guest:
        """Boot or clone a guest; the first of several that are alike boots the machine to clone before it returns.

        Closed, it leaves ``console.log`` and ``channel.bin`` in ``workdir``. Raises InputError for a guest that cannot
        be described, HostError (VmmError with an errno) when the files cannot be written or KVM refuses, ValueError
        for a guest in performance mode without a plan for it.
        """
        if spec.performance and place.performance is None:
            raise ValueError("a guest in performance mode needs a place with a plan")
        workdir, command = workdir.absolute(), self.command_line(spec)
        launch = Launch(self._extension.path, self.label, command, spec, workdir, host_timeout_s, cancel, place)
        try:
            prepare(workdir)
            return self._clone(launch) or launch.boot()
        except OSError as err:
            raise full_or_denied(err, workdir, "KTSTR_RUNS_ROOT") from err

    def _clone(self, launch: Launch) -> KvmGuest | None:
        """A clone; None when nothing is to be cloned, or what was kept can no longer be."""
        spec = launch.spec
        if self._snapshots is None or not spec.alike or launch.place.performance is not None:
            return None
        key = self._snapshots.key(spec.alike, self.digest, launch.command)
        wanted = spec.many and key not in self._unkept
        with ExitStack() as held:
            snapshot = held.enter_context(self._snapshots.holding(key, launch.template if wanted else None))
            if snapshot is None:
                if wanted:
                    self._unkept.add(key)
                return None
            try:
                return launch.clone(snapshot, held)
            except VmmError as err:
                if err.errno != errno.EINVAL:
                    raise
                self._snapshots.forget(key)
                prepare(launch.workdir)
                return None


def _describe(spec: GuestSpec, append: str) -> tuple[str, ...]:
    topology = spec.topology
    nodes = range(topology.numa_nodes)
    distances = ",".join(str(topology.distance(a, b)) for a in nodes for b in nodes)
    mode = ("performance",) if spec.performance else ()
    return (
        _PROGRAM, f"topology={topology.label}", f"distances={distances}", f"memory={spec.memory_mib}M", "vendor=host",
        *mode, "append", append,
    )  # fmt: skip
