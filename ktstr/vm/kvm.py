"""The KVM backend: guests run in this process, on threads of the C VMM. A guest boots, or goes on as a clone of a
machine that was parked (``kvm_park``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ktstr
from ktstr.files import full_or_denied
from ktstr.host.identity import host_identity
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.kvm_launch import Launch
from ktstr.vm.machine import ANYWHERE, Guest, GuestSpec, Place

if TYPE_CHECKING:
    from pathlib import Path

    from ktstr.cancel import Cancel
    from ktstr.vm.snapshot import Parked, Snapshot, Unparked
    from ktstr.vm.vmm_build import Extension

_PROGRAM = "ktstr-vmm"


class KvmMachine:
    """Boots, parks and clones guests on KVM."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension

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
        """What the machine is, for a cell's key; the same for a clone and a boot, of which a result in real time does
        not depend. Raises InputError for a kernel argument that cannot be passed."""
        return _describe(spec, kernel_command_line(spec, self.accel))

    def parking_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """The same of the machine that is parked, and this boot of this host, the only one that can clone it."""
        return (*_describe(spec, kernel_command_line(spec, self.accel, parks=True)), "host", *host_identity())

    def start(
        self,
        spec: GuestSpec,
        workdir: Path,
        host_timeout_s: float,
        cancel: Cancel,
        place: Place = ANYWHERE,
        snapshot: Snapshot | None = None,
    ) -> Guest:
        """Boot or clone a guest.

        Closed, it leaves ``console.log`` and ``channel.bin`` in ``workdir``. Raises InputError for a guest that cannot
        be described, HostError (VmmError with an errno) when the files cannot be written or KVM refuses, VmmError with
        EINVAL for a snapshot of another machine or a damaged one, ValueError for a guest in performance mode that has
        no plan or is to be a clone.
        """
        if spec.performance and place.performance is None:
            raise ValueError("a guest in performance mode needs a place with a plan")
        if snapshot is not None:
            _check_cloneable(spec)
        launch = self._launch(spec, workdir, host_timeout_s, cancel, place)
        try:
            return launch.boot() if snapshot is None else launch.clone(snapshot)
        except OSError as err:
            raise full_or_denied(err, launch.workdir, "KTSTR_RUNS_ROOT") from err

    def park(
        self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place = ANYWHERE
    ) -> Parked | Unparked:
        """Boot a machine, do its setup, and save it where it waits for its program; files and errors as of ``start``.

        Raises ValueError for a guest in performance mode: it boots.
        """
        from ktstr.vm.kvm_park import park

        _check_cloneable(spec)
        launch = self._launch(spec, workdir, host_timeout_s, cancel, place)
        try:
            return park(launch)
        except OSError as err:
            raise full_or_denied(err, launch.workdir, "KTSTR_RUNS_ROOT") from err

    def _launch(self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: Cancel, place: Place) -> Launch:
        command = self.command_line(spec)
        return Launch(
            self._extension.path, self.label, command, spec, workdir.absolute(), host_timeout_s, cancel, place
        )


def _check_cloneable(spec: GuestSpec) -> None:
    if spec.performance:
        raise ValueError("a guest in performance mode boots: it is neither parked nor a clone")


def _describe(spec: GuestSpec, append: str) -> tuple[str, ...]:
    topology = spec.topology
    nodes = range(topology.numa_nodes)
    distances = ",".join(str(topology.distance(a, b)) for a in nodes for b in nodes)
    mode = ("performance",) if spec.performance else ()
    return (
        _PROGRAM, f"topology={topology.label}", f"distances={distances}", f"memory={spec.memory_mib}M", "vendor=host",
        *mode, "append", append,
    )  # fmt: skip
