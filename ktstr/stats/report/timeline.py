"""What each CPU of one run was given, over guest time: workers, their migrations and largest gaps, and the scenario's
steps.

The steps and the largest gaps are in the sidecar. Single migrations are only in the record, which the cell store
keeps: without it a worker that migrated is in the table beside the drawing, and only its gap is drawn.

All times are ms since the agent's clock began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.record.guest import GuestRecord, WorkerReport, WorkerSummary
from ktstr.record.sidecar import Sidecar

MS = 1_000_000
# A drawing holds no more: what is left out is said.
MAX_STAYS, MAX_WORKERS, MAX_STEPS, MAX_LANES = 1500, 256, 60, 256
RELEASE, STOP = "Release", "StopWorkers"


@dataclass(frozen=True)
class Step:
    """One thing the agent did. ``label`` is the op, ``detail`` what it was done to."""

    at_ms: float
    label: str
    detail: str


@dataclass(frozen=True)
class Stay:
    """A worker was on this CPU from one look at the clock to the next that found it elsewhere."""

    worker: int
    cpu: int
    start_ms: float
    end_ms: float


@dataclass(frozen=True)
class Gap:
    """The longest time in which a worker did not get to look at the clock, and the CPU it was on before."""

    worker: int
    cpu: int
    start_ms: float
    end_ms: float

    @property
    def ms(self) -> float:
        return self.end_ms - self.start_ms


@dataclass(frozen=True)
class Lane:
    """One CPU. ``ran_ms``: how long the kernel ran anything there; None when that was not measured."""

    cpu: int
    llc: int | None
    ran_ms: float | None


@dataclass(frozen=True)
class WorkerRow:
    """One worker in numbers. ``cpus``: those it was seen on."""

    index: int
    cgroup: int
    cpus: tuple[int, ...]
    migrations: int
    gap: Gap
    off_cpu_ms: float


@dataclass(frozen=True)
class Timeline:
    """One run over ``[start_ms, end_ms]``. ``moved``: migrations in all, of which ``placed`` have their moment."""

    start_ms: float
    end_ms: float
    lanes: tuple[Lane, ...]
    steps: tuple[Step, ...]
    stays: tuple[Stay, ...]
    workers: tuple[WorkerRow, ...]
    moved: int
    placed: int
    from_record: bool
    left_out: tuple[str, ...] = ()


def timeline_of(sidecar: Sidecar, record: GuestRecord | None) -> Timeline | None:
    """The timeline of a run; None when neither a worker nor a CPU was reported."""
    reports: Sequence[WorkerSummary] = record.workers if record is not None else sidecar.workers
    steps = _steps(sidecar, record)
    began = _Start(sidecar, steps)
    workers = tuple(_row(report, began) for report in reports[:MAX_WORKERS])
    stays = [stay for report in reports[:MAX_WORKERS] for stay in _stays(report, began)]
    lanes = _lanes(sidecar, record, workers)
    if not lanes or not workers:
        return None
    ends = [step.at_ms for step in steps] + [stay.end_ms for stay in stays] + [row.gap.end_ms for row in workers]
    over = {
        "workers": len(reports) - MAX_WORKERS,
        "CPUs": len(lanes) - MAX_LANES,
        "steps": len(steps) - MAX_STEPS,
        "stays on a CPU, the last ones": len(stays) - MAX_STAYS,
    }
    stored = [len(report.migrations) for report in reports if isinstance(report, WorkerReport)]
    return Timeline(
        start_ms=0.0,
        end_ms=max([1.0, *ends]),
        lanes=lanes[:MAX_LANES],
        steps=tuple(steps[:MAX_STEPS]),
        stays=tuple(sorted(stays, key=lambda stay: stay.start_ms)[:MAX_STAYS]),
        workers=workers,
        moved=sum(report.migration_count for report in reports),
        placed=sum(stored),
        from_record=record is not None,
        left_out=tuple(f"{n} {what}" for what, n in over.items() if n > 0),
    )


class _Start:
    """When workers began: at the scenario's release, each after the offset that the seed gave it. Where there are
    several releases, or none, a worker is taken to have ended with the last stop."""

    def __init__(self, sidecar: Sidecar, steps: Sequence[Step]) -> None:
        releases = [step.at_ms for step in steps if step.label == RELEASE]
        stops = [step.at_ms for step in steps if step.label == STOP]
        offsets = (sidecar.perturbations or {}).get("start_offsets_ns", ())
        self._release = releases[0] if len(releases) == 1 else None
        self._stop = stops[-1] if stops else max((step.at_ms for step in steps), default=0.0)
        self._offsets = offsets if isinstance(offsets, tuple) else ()

    def of(self, worker: WorkerSummary) -> float:
        if self._release is None or worker.spawn:
            return max(0.0, self._stop - worker.wall_time_ns / MS)
        offset = self._offsets[worker.index] if worker.index < len(self._offsets) else 0
        return self._release + offset / MS


def _steps(sidecar: Sidecar, record: GuestRecord | None) -> list[Step]:
    if record is not None and record.stimuli:
        return [Step(stimulus.at_ns / MS, stimulus.op, stimulus.detail) for stimulus in record.stimuli]
    events = sidecar.stimulus_events
    return [Step(float(event.elapsed_ms), event.op_kind or event.label, event.detail or "") for event in events]


def _row(report: WorkerSummary, began: _Start) -> WorkerRow:
    start = began.of(report) + report.max_gap_at_ns / MS
    gap = Gap(report.index, report.max_gap_cpu, start, start + report.max_gap_ns / MS)
    return WorkerRow(
        report.index, report.cgroup, report.cpus_used, report.migration_count, gap, report.max_gap_off_cpu_ns / MS
    )


def _stays(report: WorkerSummary, began: _Start) -> list[Stay]:
    """Where a worker was and until when; nothing for one that migrated at moments that nobody kept."""
    start = began.of(report)
    end = start + report.wall_time_ns / MS
    migrations = report.migrations if isinstance(report, WorkerReport) else ()
    if not migrations:
        return [Stay(report.index, report.cpus_used[0], start, end)] if len(report.cpus_used) == 1 else []
    moments = [start + migration.at_ns / MS for migration in migrations]
    cpus = [migrations[0].from_cpu, *(migration.to_cpu for migration in migrations)]
    spans = zip(cpus, [start, *moments], [*moments, end], strict=True)
    stays = [Stay(report.index, cpu, since, until) for cpu, since, until in spans]
    return stays if len(migrations) == report.migration_count else stays[:-1]


def _lanes(sidecar: Sidecar, record: GuestRecord | None, workers: Sequence[WorkerRow]) -> tuple[Lane, ...]:
    llcs = {cpu.cpu: min(cpu.llc_cpus, default=cpu.cpu) for cpu in record.cpus} if record is not None else {}
    ran = {vcpu.cpu: vcpu.run_ns / MS for vcpu in sidecar.vcpu_times}
    seen = {cpu for row in workers for cpu in (*row.cpus, row.gap.cpu)}
    return tuple(Lane(cpu, llcs.get(cpu), ran.get(cpu)) for cpu in sorted({*llcs, *ran, *seen}))
