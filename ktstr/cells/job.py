"""One cell as a value: everything that running it needs, and everything that came of it.

Both can be sent anywhere: artifacts are named by kind and digest, and found in the cache of whoever runs the job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import EXIT_ENVIRONMENT, HostError, InputError, KtstrError
from ktstr.host.cache import Cache
from ktstr.record.cell import CellRecord
from ktstr.record.codec import ready
from ktstr.tools.bundle import METADATA
from ktstr.vm.machine import GuestSpec
from ktstr.vm.steady import FILE as STEADY
from ktstr.vm.vmm_build import FILE as EXTENSION

# Each is a class of the cache: "tools" has the emulator, "agents" what is loaded into it, "vmm" our own monitor.
ArtifactKind: TypeAlias = Literal["kernels", "images", "tools", "agents", "vmm"]


_FILES: dict[ArtifactKind, str] = {
    "kernels": "vmlinux", "images": "image.cpio", "tools": METADATA, "agents": STEADY, "vmm": EXTENSION,
}  # fmt: skip


@dataclass(frozen=True)
class ArtifactRef:
    """An artifact by what it is: an entry of the cache. ``identity``: the digest of its content or inputs; empty where
    the machine's digest says it.

    ``stored`` is False for a kernel that no cache keeps: of a tree with uncommitted changes.
    """

    kind: ArtifactKind
    key: str
    identity: str = ""
    stored: bool = True


@dataclass(frozen=True)
class Limits:
    """``host_seconds`` of the machine; ``host_cpus`` and ``memory_mib`` are what it takes of the host."""

    host_seconds: float
    host_cpus: int
    memory_mib: int


@dataclass(frozen=True)
class ParkedRef:
    """The machine that a cell is a clone of: the key of its snapshot, and what people call it."""

    key: str
    name: str


@dataclass(frozen=True)
class CellJob:
    """What to run. ``machine``: the digest of the one that ``accel`` names, and ``machine_parts`` what that is made of;
    ``images``: the parts of the initramfs, in order; ``memory_mib`` is the guest's. ``setup``: what the agent does
    before ``program``. ``parked``: the machine that it is a clone of, None for one that boots.

    ``vmcore``: a core of the guest's memory is written beside what it left (``cells.inspecting``).
    ``cgroup_parent``: the cgroup below which the scenario's are made, None for the agent's own. ``commit`` is the
    project's, ``accel_reason`` why ``accel=auto`` chose the machine: the record carries both. ``host_class``: the only
    one whose hosts may run it, empty for any. ``together``: jobs of the same word are run on the same host.
    """

    name: str
    input_digest: str
    accel: str
    machine: str
    kernel: ArtifactRef
    images: tuple[ArtifactRef, ...]
    setup: bytes
    program: bytes
    topology: Topology
    memory_mib: int
    kernel_args: tuple[str, ...]
    performance: bool
    parked: ParkedRef | None
    limits: Limits
    commit: str | None = None
    accel_reason: str | None = None
    vmcore: bool = False
    cgroup_parent: str | None = None
    machine_parts: tuple[ArtifactRef, ...] = ()
    host_class: tuple[str, ...] = ()
    together: str = ""

    @property
    def artifacts(self) -> tuple[ArtifactRef, ...]:
        """All that has to be there before it can be run."""
        return (*self.machine_parts, self.kernel, *self.images)

    def encode(self) -> bytes:
        """As bytes, for ``decode_job``."""
        return msgspec.msgpack.encode(self)


@dataclass(frozen=True)
class JobError:
    """Why there is no record: a KtstrError's parts."""

    message: str
    fix: str | None
    exit_code: int

    def error(self) -> KtstrError:
        """The error again, of the class that its exit code says."""
        kind = HostError if self.exit_code == EXIT_ENVIRONMENT else InputError
        return kind(self.message, fix=self.fix)


@dataclass(frozen=True)
class CellResult:
    """What came of a job: what was measured, or why nothing was. Exactly one of the two is there."""

    name: str
    input_digest: str
    record: CellRecord | None = None
    error: JobError | None = None

    def encode(self) -> bytes:
        """As bytes, for ``decode_result``."""
        return msgspec.msgpack.encode(self)


@dataclass(frozen=True)
class Asked:
    """What whoever asks for a job wants beside its result. ``fresh``: it is to be run now, whatever an earlier run left
    of it. ``started`` is told once it runs, with the name of the worker where it is not this host; until then
    ``is_wanted`` tells whether it is still to be."""

    started: Callable[[str | None], None]
    fresh: bool = False
    is_wanted: Callable[[], bool] = lambda: True


class JobRunner(Protocol):
    """Who runs jobs: this host, or the workers of a cluster."""

    def run(self, job: CellJob, workdir: Path, asked: Asked, cancel: Cancel) -> CellResult | None:
        """Run a job to its end; its files are then in ``workdir``, which is empty. Blocks the calling thread. None when
        it was not wanted any more before it began, or ``cancel`` was set. What no host can do is in the result."""


def decode_job(data: bytes) -> CellJob:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    return msgspec.msgpack.decode(data, type=ready(CellJob))


def decode_result(data: bytes) -> CellResult:
    """Raises as ``decode_job``."""
    return msgspec.msgpack.decode(data, type=ready(CellResult))


@dataclass(frozen=True)
class ArtifactStore:
    """Where this host keeps what jobs name. ``unstored``: what is not in the cache itself: kernels of trees with
    uncommitted changes; on a worker, what it was sent."""

    cache: Cache
    unstored: Cache

    def cache_of(self, ref: ArtifactRef) -> Cache:
        """The cache that has it, or is to have it."""
        return self.cache if ref.stored else self.unstored

    def path(self, ref: ArtifactRef) -> Path:
        """The file of it that is named to whoever boots it, whether it is there or not."""
        return self.cache_of(ref).entry(ref.kind, ref.key) / _FILES[ref.kind]

    def guest(self, job: CellJob) -> GuestSpec:
        """The guest that a job describes."""
        return GuestSpec(
            self.path(job.kernel),
            tuple(map(self.path, job.images)),
            job.topology,
            job.memory_mib,
            job.kernel_args,
            setup=job.setup,
            program=job.program,
            parks=job.parked is not None,
            performance=job.performance,
            cgroup_parent=job.cgroup_parent,
        )
