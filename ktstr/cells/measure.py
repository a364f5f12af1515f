"""Measuring cells: a stored measurement stands, or the cell's job is run; judged, and its sidecar written.

The record (what was measured) is stored once; the verdict is computed from it, so a changed threshold is judged
again without a boot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from ktstr.cells.dumps import Dumped, dumps_in, write_dump
from ktstr.cells.host_cpus import HostCpus
from ktstr.cells.inspecting import VMCORE
from ktstr.cells.job import (
    ArtifactKind,
    ArtifactRef,
    ArtifactStore,
    Asked,
    CellJob,
    CellResult,
    JobRunner,
    Limits,
    ParkedRef,
)
from ktstr.cells.judge import identity, judged, payloads_of
from ktstr.cells.local import LocalRunner
from ktstr.cells.run import Runner
from ktstr.checks import payloads, quote
from ktstr.checks.judge import Judgement
from ktstr.errors import HostError, KtstrError
from ktstr.files import refused, staging_name, write_atomic
from ktstr.host.cache import Cache
from ktstr.host.limits import usable
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan, ParkedPlan
from ktstr.record.cell import CellRecord
from ktstr.record.machine import VERDICT_EXITS
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import Sidecar
from ktstr.results import sidecar as sidecars
from ktstr.results.ledger import CellOutcome, failure
from ktstr.results.store import RECORD, SETTING, SIDECAR, CellStore, reusable
from ktstr.vm.memory import HOST_OVERHEAD_MIB, clone_mib
from ktstr.vm.snapshot_store import SnapshotStore, limit_bytes

CONSOLE, SCHED_LOG, COMMAND = "console.log", "sched.log", "command.txt"
SCHED_PRINTK = "sched.printk"  # what its programs printed with bpf_printk, if they did
PAYLOADS_LOG = "payloads.log"  # what payloads printed, if they did
_SHOWN = (CONSOLE, SCHED_LOG, SCHED_PRINTK, PAYLOADS_LOG, VMCORE, COMMAND)


@dataclass(frozen=True)
class Stored:
    """A measurement that stands, and its judgement by today's thresholds."""

    record: CellRecord
    judgement: Judgement


class Bench:
    """Where the cells of ``plan`` are measured. ``jobs``: who runs them, None for this host; ``is_over``: whether no
    more of them are to be started. Safe from any thread."""

    def __init__(self, plan: Plan, jobs: JobRunner | None = None, is_over: Callable[[], bool] = lambda: False) -> None:
        self._plan, self._store, self._elsewhere = plan, CellStore(plan.request.project.cells), jobs
        self._is_over = is_over
        self._unwatched: set[str] = set()  # kernels of which that was said
        unstored = Cache(plan.request.project.unstored, plan.request.cancel)
        self._artifacts = ArtifactStore(plan.archive.cache, unstored)
        request = plan.request
        self._snapshots = SnapshotStore(
            plan.archive.cache, limit_bytes(request.environ), machines_open(), request.progress.step
        )

    def run(self, cell: CellPlan) -> CellOutcome | None:
        """What came of the cell; None when the run was cancelled before or while it ran."""
        try:
            rerun = self._plan.request.options.running.rerun
            stored = None if rerun else self._stored(cell)
            if stored is not None:  # by another process, since this one planned
                return self._outcome(cell, stored, ran=False)
            return self._measure(cell, fresh=rerun)
        except (KtstrError, OSError) as err:
            return None if self._plan.request.cancel.is_set() else self._failed(cell, err)

    def again(self, cell: CellPlan) -> CellOutcome | None:
        """What came of one more run, whatever is stored; kept only if it did not pass. None as of ``run``."""
        try:
            return self._measure(cell, fresh=True, keeps_pass=False)
        except (KtstrError, OSError) as err:
            return None if self._plan.request.cancel.is_set() else self._failed(cell, err)

    def rejudged(self, cell: CellPlan) -> CellOutcome | None:
        """The outcome by a stored record, while the kernel that its sidecar describes is in the cache too."""
        stored = self._stored(cell)
        if stored is None or cell.point.kernel.entry() is None:
            return None
        try:
            return self._outcome(cell, stored, ran=False)
        except (KtstrError, OSError) as err:
            return self._failed(cell, err)

    def why(self, cell: CellPlan) -> str:
        """Whether a stored record stands, and if not why."""
        if self._stored(cell) is not None:
            return "up to date"
        if (self._store.folder(cell.input_digest) / RECORD).exists():
            return "run: the stored result does not stand"
        return f"run: no result for inputs {cell.input_digest[:12]}"

    def record(self, cell: CellPlan) -> CellRecord | None:
        """What is stored of a cell; None when there is nothing, or nothing that can be read."""
        try:
            return self._store.read(cell.input_digest)
        except KtstrError:
            return None

    def sidecar(self, cell: CellPlan) -> Sidecar:
        """The sidecar of a stored measurement, made anew. Raises HostError when that is gone."""
        record = self._store.read(cell.input_digest)
        if record is None:
            raise HostError(f"{cell.name}: its stored result is gone", fix="run the command again")
        return sidecars.build(identity(self._plan, cell), record, judged(cell, record))

    def _stored(self, cell: CellPlan) -> Stored | None:
        """A stored measurement that stands, with its judgement; None when the cell has to run."""
        record = self.record(cell)
        if record is None:  # damaged too: measured again, and replaced whole
            return None
        judgement = judged(cell, record)
        return Stored(record, judgement) if reusable(record, judgement.outcome, cell.point.accel) else None

    def _failed(self, cell: CellPlan, err: KtstrError | OSError) -> CellOutcome:
        """The outcome of a cell that came to no result: nothing about it was stored."""
        if isinstance(err, OSError):
            err = refused(err, self._plan.request.project.runs_root, SETTING)
        return failure(cell.name, err)

    def _measure(self, cell: CellPlan, *, fresh: bool, keeps_pass: bool = True) -> CellOutcome | None:
        """Run the guest. None when the run was cancelled before or while it ran."""
        request, job = self._plan.request, job_of(self._plan, cell)
        progress = request.progress
        asked = Asked(lambda worker: progress.cell_started(cell.name, worker), fresh, lambda: not self._is_over())
        with self._working(cell.input_digest) as workdir:
            result = self._jobs.run(job, workdir, asked, request.cancel)
            return None if result is None else self._keep(cell, workdir, result, keeps_pass=keeps_pass)

    def park(self, cell: CellPlan) -> None:
        """Make the machine that a cell and others are clones of, unless there is one. How it ended before it could be
        parked is told by each of them. Raises HostError."""
        request, job = self._plan.request, job_of(self._plan, cell)
        assert job.parked is not None
        request.progress.step(f"machine {job.parked.name}: starts")
        with self._working(job.parked.key) as workdir:
            self._here.park(job, workdir, request.cancel)

    def is_parked(self, parked: ParkedPlan) -> bool:
        """Whether a machine was made. Nothing is read."""
        return self._snapshots.is_made(parked.key)

    def snapshot_of(self, parked: ParkedPlan) -> Path:
        """The file that proves it."""
        return self._snapshots.metadata(parked.key)

    @property
    def _jobs(self) -> JobRunner:
        return self._elsewhere or self._here

    @cached_property
    def _here(self) -> LocalRunner:
        assert self._plan.machine is not None, "a plan with cells has a machine"
        request = self._plan.request
        host_cpus = HostCpus(request.environ, request.options.building.cpu_cap, request.progress.step)
        return LocalRunner(Runner(self._artifacts, self._plan.machine, host_cpus, self._snapshots), request.tokens)

    @contextmanager
    def _working(self, digest: str) -> Iterator[Path]:
        """A folder to run in. What the system refuses about it is said of it."""
        with self._store.working(digest) as workdir:
            try:
                yield workdir
            except OSError as err:
                raise refused(err, workdir, SETTING) from err

    def _say_unwatched(self, cell: CellPlan, record: CellRecord) -> None:
        """Once for each kernel whose guests cannot be watched."""
        monitor, label = record.monitor, cell.point.kernel.label
        if monitor is None or monitor.samples or monitor.cost_s is not None or label in self._unwatched:
            return
        self._unwatched.add(label)
        self._plan.request.progress.step(f"kernel {label}: its guests are not watched: {monitor.unwatched}")

    def _keep(
        self, cell: CellPlan, workdir: Path, result: CellResult, *, keeps_pass: bool = True
    ) -> CellOutcome | None:
        """Store what is a fact about kernel or scheduler; set the rest aside for the user to look at."""
        if result.record is None:
            assert result.error is not None
            raise result.error.error()
        record = result.record
        self._say_unwatched(cell, record)
        if self._plan.request.cancel.is_set() and record.end.reason not in VERDICT_EXITS:
            return None  # we ended it: that says nothing, whatever its machine left
        (workdir / SCHED_LOG).write_text(quote.plain(record.guest.sched_log), encoding="utf-8")
        if record.guest.sched_printk:
            (workdir / SCHED_PRINTK).write_text(quote.plain(record.guest.sched_printk), encoding="utf-8")
        if printed := payloads.printed(payloads_of(cell), record.guest):
            (workdir / PAYLOADS_LOG).write_text(printed, encoding="utf-8")
        (workdir / COMMAND).write_text("\n".join(record.end.command) + "\n", encoding="utf-8")
        judgement = judged(cell, record)
        if judgement.outcome == Outcome.ERROR:
            write_dump(Dumped(cell.name, identity(self._plan, cell), workdir), record, None)
            folder = self._store.set_aside(cell.input_digest, workdir)
            return CellOutcome(
                cell.name, Outcome.ERROR, judgement.reasons, True, record.end.host_seconds, files=_files_in(folder)
            )
        if judgement.outcome == Outcome.PASS and not keeps_pass:
            return CellOutcome(cell.name, Outcome.PASS, judgement.reasons, True, record.end.host_seconds)
        if judgement.outcome == Outcome.PASS:
            (workdir / VMCORE).unlink(missing_ok=True)
        elif self._plan.request.options.running.vmcore and not (workdir / VMCORE).exists():
            self._plan.request.progress.step(
                f"{cell.name}: no core was kept: its scheduler was not lost, and no task waited for half of what the"
                " watchdog allows"
            )
        self._tell_if_another(cell, record)
        self._store.commit(cell.input_digest, workdir, record)
        return self._outcome(cell, Stored(record, judgement), ran=True)

    def _tell_if_another(self, cell: CellPlan, record: CellRecord) -> None:
        """Where counted instructions are to give the same again, they do so from the same RAM only."""
        was, now = (None if one is None else _ram(one) for one in (self.record(cell), record))
        if cell.point.accel == "icount" and was and now and was != now:
            self._plan.request.progress.step(
                f"{cell.name}: its machine's RAM is {now[:12]}, and was {was[:12]} when it was measured before:"
                " the result need not be the same"
            )

    def _outcome(self, cell: CellPlan, stored: Stored, *, ran: bool) -> CellOutcome:
        record, judgement = stored.record, stored.judgement
        folder = self._store.folder(cell.input_digest)
        named = identity(self._plan, cell)
        whole = sidecars.build(named, record, judgement)
        data = sidecars.dump(whole)
        path = folder / SIDECAR
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data, staging_name(record.run_id))
        write_dump(Dumped(cell.name, named, folder), record, whole)
        return CellOutcome(
            cell.name, judgement.outcome, judgement.reasons, ran, record.end.host_seconds, whole,
            files=_files_in(folder), lasting=reusable(record, judgement.outcome, cell.point.accel),
        )  # fmt: skip


def job_of(plan: Plan, cell: CellPlan) -> CellJob:
    """The job of a planned cell. Raises InputError for a scenario that the agent would refuse."""
    assert plan.machine is not None, "a plan with cells has a machine"
    point = cell.point
    place, planned = point.kernel.place, plan.parked(cell)
    parked = None if planned is None else ParkedRef(planned.key, planned.name)
    memory = point.memory_mib if parked is None else clone_mib(point.memory_mib)
    pair = "" if plan.request.side is None else cell.name.partition("/")[2]
    return CellJob(
        name=cell.name,
        input_digest=cell.input_digest,
        accel=point.accel,
        machine=plan.machine.digest,
        kernel=ArtifactRef("kernels", place.key, place.identity, stored=place.cache == plan.archive.cache),
        images=tuple(
            ArtifactRef("images", path.parent.name, digest)
            for path, digest in zip(point.image.paths, point.image.digests, strict=True)
        ),
        setup=point.setup,
        program=cell.program,
        topology=point.topology,
        memory_mib=point.memory_mib,
        kernel_args=point.kernel_args,
        performance=point.test.performance_mode,
        parked=parked,
        limits=Limits(plan.request.options.running.timeout, point.host_cpus, memory + HOST_OVERHEAD_MIB),
        commit=plan.commit,
        accel_reason=plan.accel_reason,
        vmcore=plan.request.options.running.vmcore,
        cgroup_parent=point.scheduler.cgroup_parent,
        machine_parts=tuple(_part(entry) for entry in plan.machine_entries),
        host_class=point.host if plan.request.hosts else (),
        together=pair,
    )


def _part(entry: Path) -> ArtifactRef:
    return ArtifactRef(cast(ArtifactKind, entry.parent.name), entry.name)


def _ram(record: CellRecord) -> str | None:
    return None if record.end.origin is None else record.end.origin.ram_digest


def machines_open() -> int:
    """How many machines stay unpacked that nobody holds: an eighth of this host's memory, at 256 MiB each."""
    return max(2, min(16, usable().memory_mib // 8 // 256))


def _files_in(folder: Path) -> tuple[str, ...]:
    """What there is to look at beside the sidecar."""
    return (*dumps_in(folder), *(str(path) for name in _SHOWN if (path := folder / name).exists()))
