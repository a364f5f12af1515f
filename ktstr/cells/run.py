"""Running one job: a guest from its start to its end, and what it measured. Knows no command line."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from ktstr.cancel import Cancel
from ktstr.cells import watching
from ktstr.cells.host_cpus import HostCpus
from ktstr.cells.inspecting import VMCORE, Core, Inspection
from ktstr.cells.job import ArtifactStore, CellJob, CellResult, JobError
from ktstr.errors import HostError, KtstrError
from ktstr.files import refused
from ktstr.host.context import capture
from ktstr.host.identity import host_class
from ktstr.record.cell import CellRecord
from ktstr.record.guest import GuestRecord
from ktstr.record.host import Host
from ktstr.record.machine import MachineEnd, Origin
from ktstr.results.names import run_id
from ktstr.results.store import REAL_TIME
from ktstr.vm.guest_files import prepare
from ktstr.vm.guest_topology import differences
from ktstr.vm.machine import ANYWHERE, Guest, GuestSpec, Machine, Place
from ktstr.vm.messages import decode_channel
from ktstr.vm.snapshot import Parked, Snapshot, Unparked
from ktstr.vm.snapshot_store import SnapshotStore

_COUNTER = itertools.count(1)


@dataclass(frozen=True)
class Runner:
    """What runs jobs on this host: where artifacts are, the machine that ``job.accel`` names, the host's CPUs, and the
    machines that are parked."""

    artifacts: ArtifactStore
    machine: Machine
    host_cpus: HostCpus
    snapshots: SnapshotStore

    def run(self, job: CellJob, workdir: Path, cancel: Cancel) -> CellResult:
        """Run a job to its end, files in ``workdir``. Blocks the calling thread; raises nothing of the environment's:
        what this host cannot do is in the result."""
        try:
            return CellResult(job.name, job.input_digest, record=self._measure(job, workdir, cancel))
        except KtstrError as err:
            return CellResult(job.name, job.input_digest, error=JobError(err.message, err.fix, err.exit_code))
        except OSError as err:
            denied = refused(err, workdir, "KTSTR_RUNS_ROOT")
            return CellResult(job.name, job.input_digest, error=JobError(denied.message, denied.fix, denied.exit_code))

    @contextmanager
    def holding(self, job: CellJob, workdir: Path, cancel: Cancel) -> Iterator[Snapshot | Unparked | None]:
        """The snapshot that a job's machine is a clone of, made in ``workdir`` if there is none yet: or how its machine
        ended before it could be parked. None for a machine that boots. Raises KtstrError, OSError."""
        if job.parked is None:
            yield None
            return
        parked = job.parked
        with self.snapshots.holding(parked.key, lambda: self._park(job, workdir, cancel), parked.name) as held:
            yield held

    def _park(self, job: CellJob, workdir: Path, cancel: Cancel) -> Parked | Unparked:
        spec, limit_s = self.artifacts.guest(job), job.limits.host_seconds
        with self._place(job, spec, cancel) as place, self._kernel(job):
            parked = self.machine.park(spec, workdir, limit_s, cancel, place)
        if isinstance(parked, Unparked) and job.accel in REAL_TIME:
            return dataclasses.replace(parked, real_time=True)
        return parked

    def _measure(self, job: CellJob, workdir: Path, cancel: Cancel) -> CellRecord:
        here = (self.machine.accel, self.machine.digest)
        if here != (job.accel, job.machine):
            raise HostError(
                f"{job.name}: planned for machine {job.accel} {job.machine[:12]}, found {here[0]} {here[1][:12]}",
                fix="plan and run it with the same ktstr and tools",
            )
        if job.host_class not in ((), host_class()):
            raise HostError(
                f"{job.name}: planned for a host of another class: {' '.join(job.host_class)}", fix="plan it again"
            )
        with self.holding(job, workdir, cancel) as held:
            if isinstance(held, Unparked) and held.end is not None:
                prepare(workdir, held.console, held.channel)
                return _recorded(job, held.channel, replace(held.end, origin=Origin()))
            return self._run(job, held, workdir, cancel)

    def _run(self, job: CellJob, held: Snapshot | Unparked | None, workdir: Path, cancel: Cancel) -> CellRecord:
        spec, limit_s = self.artifacts.guest(job), job.limits.host_seconds
        snapshot = held if isinstance(held, Snapshot) else None
        origin = _origin(held)
        with self._place(job, spec, cancel) as place, self._kernel(job):
            eyes = watching.eyes_for(spec.kernel.parent)
            spec = dataclasses.replace(spec, watched=isinstance(eyes, watching.Eyes))
            with self.machine.start(spec, workdir, limit_s, cancel, place, snapshot) as running:
                inspection = Inspection(
                    running,
                    spec.kernel.parent,
                    eyes.hz if isinstance(eyes, watching.Eyes) else None,
                    _core(job, workdir),
                )
                seen = _followed(running, eyes, job, inspection)
                ended = running.wait()
                inspected = inspection.end(ended.end)
        channel = ended.channel.read_bytes() if ended.channel.exists() else b""
        return replace(_recorded(job, channel, replace(ended.end, origin=origin), seen), inspected=inspected)

    def _kernel(self, job: CellJob) -> AbstractContextManager[None]:
        """Nobody replaces or removes it while a machine boots from it."""
        return self.artifacts.cache_of(job.kernel).reading(job.kernel.kind, job.kernel.key)

    def _place(self, job: CellJob, spec: GuestSpec, cancel: Cancel) -> AbstractContextManager[Place]:
        """Host CPUs for a guest whose time is real, held before its own time begins; an emulated one runs anywhere."""
        if job.accel != "kvm":
            return nullcontext(ANYWHERE)
        return self.host_cpus.hold(spec, job.limits.host_seconds, cancel)


def _core(job: CellJob, workdir: Path) -> Core | None:
    return Core(workdir / VMCORE, stands_still=job.accel not in REAL_TIME) if job.vmcore else None


def _origin(held: Snapshot | Unparked | None) -> Origin:
    if isinstance(held, Unparked):
        return Origin(why_cold=held.cold)
    return Origin() if held is None else Origin(kind=held.facts.kind, ram_digest=held.facts.ram_digest)


def _followed(
    running: Guest, eyes: watching.Eyes | watching.Blind, job: CellJob, inspection: Inspection
) -> watching.Seen | watching.Blind:
    if isinstance(eyes, watching.Blind):
        return eyes
    return watching.follow(running, eyes, job.topology.cpus, inspection.look)


def _recorded(
    job: CellJob, channel: bytes, end: MachineEnd, seen: watching.Seen | watching.Blind | None = None
) -> CellRecord:
    guest, _broken = decode_channel(channel)
    monitor = None if seen is None else watching.record(seen, guest, job.accel)
    return replace(_record(job, guest, _judged_end(job, guest, end)), monitor=monitor)


def _judged_end(job: CellJob, guest: GuestRecord, end: MachineEnd) -> MachineEnd:
    """A guest that shows another topology than declared says nothing about the scheduler."""
    topology = differences(guest, job.topology, job.memory_mib) if guest.cpus else []
    if not topology:
        return end
    return replace(end, reason="emulator_failed", detail=f"the guest shows another topology: {topology[0]}")


def _record(job: CellJob, guest: GuestRecord, end: MachineEnd) -> CellRecord:
    now = datetime.now(UTC)
    return CellRecord(
        guest=guest,
        end=end,
        input_digest=job.input_digest,
        measured_at=now.isoformat(timespec="milliseconds"),
        measured_commit=job.commit,
        run_id=new_run_id(now),
        host=host_context() if job.accel_reason is None else replace(host_context(), accel_reason=job.accel_reason),
    )


def new_run_id(now: datetime) -> str:
    """A run id that no other run of this process has."""
    return run_id(now, next(_COUNTER))


@cache
def host_context() -> Host:
    """This host, as sidecars remember it; read once."""
    return capture()
