"""One cell: measure it unless a stored measurement stands, judge it, write its sidecar.

The record (what was measured) is stored once; the verdict is computed from it, so a changed
threshold is judged again without a boot. A cell never fails as a task: what the environment
cannot do is an outcome too.
"""

from __future__ import annotations

import itertools
import shutil
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.model import work_type_label
from ktstr.checks.thresholds import merge
from ktstr.errors import EXIT_ENVIRONMENT, HostError, KtstrError
from ktstr.files import full_or_denied, staging_name, write_atomic
from ktstr.planning.plan import CellPlan, SkipPlan
from ktstr.record.cell import VERDICT_EXITS, CellRecord, GuestRecord, MachineEnd
from ktstr.results import sidecar as sidecars
from ktstr.results.store import RECORD, CellStore, reusable
from ktstr.schedulers.find import resolve_source
from ktstr.tasks.session import Outcome, Session
from ktstr.vm.machine import ANYWHERE, GuestSpec, Place
from ktstr.vm.memory import HOST_OVERHEAD_MIB

_COUNTER = itertools.count(1)
CONSOLE, SCHED_LOG, COMMAND, SIDECAR, CHANNEL = "console.log", "sched.log", "command.txt", "sidecar.json", "channel.bin"


def _store(session: Session) -> CellStore:
    return CellStore(session.project.cells)


def identity(session: Session, cell: CellPlan) -> sidecars.CellIdentity:
    """Which cell it is, as its sidecar says."""
    kernel = cell.point.kernel.entry()
    return sidecars.CellIdentity(
        test=cell.key.test,
        preset=cell.key.preset,
        topology=cell.point.topology.label,
        vcpus=cell.point.topology.cpus,
        scheduler=cell.key.scheduler,
        accel=cell.point.accel,
        seed=cell.key.seed,
        work_type=work_type_label(cell.compiled.works),
        cpu_budget=cell.point.host_cpus,
        sysctls=tuple(arg for arg in cell.point.kernel_args if arg.startswith("sysctl.")),
        kargs=tuple(arg for arg in cell.point.kernel_args if not arg.startswith("sysctl.")),
        kernel_version=None if kernel is None else kernel.version,
        kernel_commit=cell.point.kernel.commit,
        kernel_label=cell.point.kernel.label,
        kernel_hz=None if kernel is None else kernel.hz,
        kernel_preempt=None if kernel is None else kernel.preempt,
        project_commit=session.commit(),
        resolve_source=resolve_source(cell.point.scheduler),
        run_source=sidecars.run_source(session.environ),
        perturbations=cell.compiled.perturbations.as_json(),
    )


def judged(cell: CellPlan, record: CellRecord) -> Judgement:
    """The judgement of a record by this cell's thresholds."""
    scheduler = None if cell.point.scheduler.builtin is not None else cell.key.scheduler
    expected = Expected(cell.compiled.works, scheduler, cell.point.accel)
    return judge(record, merge(cell.point.scheduler.checks, cell.point.test.checks), expected)


def stored(session: Session, cell: CellPlan) -> tuple[CellRecord, Judgement] | None:
    """A stored measurement that stands, with its judgement; None when the cell has to run."""
    try:
        record = _store(session).read(cell.input_digest)
    except KtstrError:
        return None  # damaged: measured again, and replaced whole
    if record is None:
        return None
    judgement = judged(cell, record)
    return (record, judgement) if reusable(record, judgement.outcome, cell.point.accel) else None


def _sidecar(session: Session, cell: CellPlan) -> dict[str, Any]:
    """The sidecar of a stored measurement, made anew."""
    record = _store(session).read(cell.input_digest)
    if record is None:
        raise HostError(f"{cell.name}: its stored result is gone", fix="run the command again")
    return sidecars.build(identity(session, cell), record, judged(cell, record))


def stands(session: Session, cell: CellPlan) -> bool:
    """Whether an earlier run left nothing to do for this cell; tells the session its outcome if so."""
    limit = session.number("maxfail")
    if session.flag("rerun") or (limit is not None and session.failed_cells() >= limit):
        return False
    outcome = session.remembered().find(cell, partial(_sidecar, session, cell))
    if outcome is None:
        return False
    session.record(outcome)
    session.progress.cell_ended(outcome.end())
    return True


def why(session: Session, cell: CellPlan) -> str:
    """Why the cell would run, for ``dry_run=1``."""
    if session.flag("rerun"):
        return "run: rerun=1"
    if session.remembered().find(cell, dict) is not None or stored(session, cell) is not None:
        return "up to date"
    path = _store(session).folder(cell.input_digest) / RECORD
    return (
        "run: the stored result does not stand"
        if path.exists()
        else f"run: no result for inputs {cell.input_digest[:12]}"
    )


def run_cell(session: Session, cell: CellPlan) -> None:
    """Measure if needed, judge, write the sidecar, and tell the session; errors come to it the same way."""
    limit = session.number("maxfail")
    if limit is not None and session.failed_cells() >= limit:
        return
    try:
        found = None if session.flag("rerun") else stored(session, cell)
        outcome = _measure(session, cell) if found is None else _outcome(session, cell, *found, ran=False)
    except (KtstrError, OSError) as err:
        outcome = None if session.cancel.is_set() else _failed(session, cell, err)
    if outcome is not None:
        session.record(outcome)
        session.progress.cell_ended(outcome.end())


def _failed(session: Session, cell: CellPlan, err: KtstrError | OSError) -> Outcome:
    """The outcome of a cell that came to no result: nothing about it was stored."""
    if isinstance(err, OSError):
        err = full_or_denied(err, Path(err.filename or session.project.runs_root), "KTSTR_RUNS_ROOT")
    return Outcome(cell.name, "error", (str(err),), False, None, exit_code=err.exit_code)


def _measure(session: Session, cell: CellPlan) -> Outcome | None:
    """Run the guest. None when the session was cancelled before or while it ran."""
    with session.tokens.hold(cell.point.host_cpus, cell.point.memory_mib + HOST_OVERHEAD_MIB, session.cancel) as held:
        if not held:
            return None
        session.progress.cell_started(cell.name)
        workdir = _store(session).begin(cell.input_digest)
        try:
            record = _boot(session, cell, workdir)
            return _keep(session, cell, workdir, record)
        except OSError as err:
            raise full_or_denied(err, workdir, "KTSTR_RUNS_ROOT") from err
        finally:
            shutil.rmtree(workdir, ignore_errors=True)


def _boot(session: Session, cell: CellPlan, workdir: Path) -> CellRecord:
    from dataclasses import replace

    from ktstr.vm.guest_topology import differences
    from ktstr.vm.messages import decode_channel

    assert session.plan is not None and session.plan.machine is not None
    many = session.plan.machines[cell.point.machine_key] > 1
    spec = replace(cell.point.guest, program=cell.program, many=many)
    timeout = session.values["timeout"]
    assert isinstance(timeout, float)
    machine = session.plan.machine
    with (
        _host_cpus(session, machine.accel, spec, timeout) as place,
        cell.point.kernel.in_use(),
        machine.start(spec, workdir, timeout, session.cancel, place) as running,
    ):
        result = running.wait()
    guest, broken = decode_channel(result.channel.read_bytes() if result.channel.exists() else b"")
    end = _end(result.end, guest, broken, differences(guest, cell.point.topology))
    return _record(session, cell, guest, end)


def _host_cpus(session: Session, accel: str, spec: GuestSpec, timeout_s: float) -> AbstractContextManager[Place]:
    """Host CPUs for a guest whose time is real, held before its own time begins; an emulated one runs anywhere."""
    if accel != "kvm":
        return nullcontext(ANYWHERE)
    from ktstr.cells.host_cpus import HostCpus

    cpus = HostCpus(session.environ, session.number("cpu_cap"), session.progress.step)
    return cpus.hold(spec, timeout_s, session.cancel)


def _end(end: MachineEnd, guest: GuestRecord, broken: str | None, topology: list[str]) -> MachineEnd:
    """A guest that shows another topology than declared says nothing about the scheduler."""
    from dataclasses import replace

    if guest.cpus and topology:
        return replace(end, reason="emulator_failed", detail=f"the guest shows another topology: {topology[0]}")
    return end


def _record(session: Session, cell: CellPlan, guest: GuestRecord, end: MachineEnd) -> CellRecord:
    now = datetime.now(UTC)
    return CellRecord(
        guest=guest,
        end=end,
        input_digest=cell.input_digest,
        measured_at=now.isoformat(timespec="milliseconds"),
        measured_commit=session.commit(),
        run_id=sidecars.run_id(now, next(_COUNTER)),
        host=_host() if session.accel_reason is None else {**_host(), "accel_reason": session.accel_reason},
    )


@cache
def _host() -> dict[str, Any]:
    from ktstr.host.context import capture

    return capture().to_json()


def _keep(session: Session, cell: CellPlan, workdir: Path, record: CellRecord) -> Outcome | None:
    """Store what is a fact about kernel or scheduler; set the rest aside for the user to look at."""
    if session.cancel.is_set() and record.end.reason not in VERDICT_EXITS:
        return None  # we ended it: that says nothing, whatever its machine left
    (workdir / SCHED_LOG).write_text(record.guest.sched_log, encoding="utf-8")
    (workdir / COMMAND).write_text("\n".join(record.end.command) + "\n", encoding="utf-8")
    judgement = judged(cell, record)
    if judgement.outcome == "error":
        return _error(session, cell, workdir, record, judgement)
    _store(session).commit(cell.input_digest, workdir, record)
    return _outcome(session, cell, record, judgement, ran=True)


def _error(session: Session, cell: CellPlan, workdir: Path, record: CellRecord, judgement: Judgement) -> Outcome:
    folder = _store(session).set_aside(cell.input_digest, workdir)
    files = tuple(str(path) for name in (CONSOLE, SCHED_LOG, COMMAND) if (path := folder / name).exists())
    return Outcome(
        cell.name, "error", judgement.reasons, True, record.end.host_seconds, None, None, files, EXIT_ENVIRONMENT
    )


def _outcome(session: Session, cell: CellPlan, record: CellRecord, judgement: Judgement, *, ran: bool) -> Outcome:
    folder = _store(session).folder(cell.input_digest)
    whole = sidecars.build(identity(session, cell), record, judgement)
    data = sidecars.dump(whole)
    path = folder / SIDECAR
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data, staging_name(record.run_id))
    files = tuple(str(p) for name in (CONSOLE, SCHED_LOG, COMMAND) if (p := folder / name).exists())
    return Outcome(
        cell.name, judgement.outcome, judgement.reasons, ran, record.end.host_seconds, whole, None, files,
        lasting=reusable(record, judgement.outcome, cell.point.accel),
    )  # fmt: skip


def skipped(session: Session, skip: SkipPlan) -> Outcome:
    """The outcome of a cell that its test's constraints rule out, with its minimal sidecar."""
    now = datetime.now(UTC)
    works = [work.work_type for cgroup in skip.test.cgroups for work in cgroup.works]
    named = sidecars.CellIdentity(
        test=skip.key.test,
        preset=skip.key.preset,
        topology=skip.topology.label,
        vcpus=0,
        scheduler=skip.key.scheduler,
        accel=skip.accel,
        seed=skip.key.seed,
        work_type="+".join(dict.fromkeys(works)),
        cpu_budget=0,
        kernel_version=skip.kernel.version(),
        kernel_label=skip.kernel.label,
        project_commit=session.commit(),
        run_source=sidecars.run_source(session.environ),
    )
    stamp, run = now.isoformat(timespec="milliseconds"), sidecars.run_id(now, next(_COUNTER))
    whole = sidecars.build_skip(named, skip.reason, timestamp=stamp, run=run, host=_host())
    return Outcome(skip.name, "skip", (skip.reason,), False, None, whole)
