"""The phases of a scenario as they were: when each began and ended, and what each worker did in it.

Workers of a step live in its phase, and their reports say it all. Of workers of the backdrop the agent told at
checkpoints what they did since the one before; a phase has what was told under its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktstr.checks import machine
from ktstr.checks.breach import Breach, Run, who
from ktstr.checks.formulas import MS, NS
from ktstr.checks.model import Group, PhaseSpan
from ktstr.checks.verdict import Detail
from ktstr.checks.workers import had_no_turn
from ktstr.record.guest import GuestRecord, Progress, WorkerReport


@dataclass(frozen=True)
class Part:
    """What a worker did in a phase. ``lived_ns``: the time in which it did that: of a worker of the backdrop, from one
    checkpoint to the next, as far as it lived.

    ``told``: it is of a checkpoint; else of its report, and then of its whole life. ``charged_ns``: CPU time of this
    phase and the one before, in which a gap that ended here may have begun.
    """

    report: WorkerReport
    lived_ns: int
    iterations: int
    work_units: int
    cpu_time_ns: int
    migrations: int
    wakes: int
    max_gap_ns: int
    told: bool
    charged_ns: int = 0


@dataclass(frozen=True)
class Window:
    """A phase that began and ended. ``parts``: by the place of a group among all groups, of its workers.

    Times are the guest's, since the scenario began; ``begin_iterations`` and ``end_iterations``: of all workers.
    """

    index: int
    name: str
    begin_ns: int
    end_ns: int
    begin_iterations: int
    end_iterations: int
    parts: Mapping[int, tuple[Part, ...]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What sidecars call it."""
        return "BASELINE" if self.index == 0 else f"Step[{self.index - 1}]"

    @property
    def ns(self) -> int:
        return self.end_ns - self.begin_ns

    @property
    def words(self) -> str:
        """The phase in a message: its label, its own name if it has one, and when it was."""
        name = f" {self.name!r}" if self.name not in ("", self.label) else ""
        return f"in {self.label}{name} ({self.begin_ns / MS:.0f} to {self.end_ns / MS:.0f} ms)"


def windows(spans: Iterable[PhaseSpan], guest: GuestRecord, groups: Sequence[Group]) -> tuple[Window, ...]:
    """The phases that both began and ended, in order."""
    first = {s.index: s for s in reversed(guest.stimuli) if s.index is not None}
    known = [(s, first[s.begin_op], first[s.end_op]) for s in spans if s.begin_op in first and s.end_op in first]
    bare = [
        Window(span.index, span.label, begin.at_ns, end.at_ns, begin.total_iterations, end.total_iterations)
        for span, begin, end in known
        if end.at_ns >= begin.at_ns
    ]
    bare.sort(key=lambda window: window.begin_ns)
    return tuple(_filled(window, bare, guest, groups) for window in bare)


@dataclass(frozen=True)
class _Told:
    """What checkpoints told under the number of a phase, by worker and how often it had been spawned before; and the
    time that they tell of, from the checkpoint before them on, None where there was none."""

    by_worker: Mapping[tuple[int, int], Progress]
    since_ns: int | None
    until_ns: int


NOTHING = _Told({}, None, 0)


def _filled(window: Window, every: Sequence[Window], guest: GuestRecord, groups: Sequence[Group]) -> Window:
    place, last_ns = every.index(window), every[-1].end_ns
    told = _told(guest, window.index)
    before = _told(guest, every[place - 1].index) if place else NOTHING
    stopped_ns = max((s.at_ns for s in guest.stimuli if s.op == "StopWorkers" and s.at_ns >= last_ns), default=last_ns)
    parts: dict[int, tuple[Part, ...]] = {}
    for number, group in enumerate(groups):
        if group.step == window.index and window.index:
            parts[number] = tuple(map(of_life, group.reports))
        elif group.step == 0:
            parts[number] = tuple(
                _of_phase(report, told, before, stopped_ns)
                for report in group.reports
                if _key(report) in told.by_worker
            )
    return replace(window, parts={number: some for number, some in parts.items() if some})


def _key(report: WorkerReport) -> tuple[int, int]:
    return report.index, report.spawn or 0


def _told(guest: GuestRecord, phase: int) -> _Told:
    checkpoints = sorted(guest.checkpoints or (), key=lambda one: one.at_ns)
    own = [one for one in checkpoints if one.phase == phase]
    if not own:
        return NOTHING
    found: dict[tuple[int, int], Progress] = {}
    for one in (progress for checkpoint in own for progress in checkpoint.workers):
        key = (one.worker, one.spawn)
        found[key] = _sum(found[key], one) if key in found else one
    before = [one.at_ns for one in checkpoints if one.phase != phase and one.at_ns < own[0].at_ns]
    return _Told(found, before[-1] if before else None, own[-1].at_ns)


def _sum(a: Progress, b: Progress) -> Progress:
    return Progress(
        worker=a.worker,
        spawn=a.spawn,
        iterations=a.iterations + b.iterations,
        work_units=a.work_units + b.work_units,
        cpu_time_ns=a.cpu_time_ns + b.cpu_time_ns,
        migrations=a.migrations + b.migrations,
        wakes=a.wakes + b.wakes,
        max_gap_ns=max(a.max_gap_ns, b.max_gap_ns),
    )


def of_life(report: WorkerReport) -> Part:
    """All that a worker did."""
    return Part(
        report=report,
        lived_ns=report.wall_time_ns,
        iterations=report.iterations,
        work_units=report.work_units,
        cpu_time_ns=report.cpu_time_ns,
        migrations=report.migration_count,
        wakes=report.wake_sample_total,
        max_gap_ns=report.max_gap_ns,
        told=False,
    )


def _of_phase(report: WorkerReport, told: _Told, before: _Told, stopped_ns: int) -> Part:
    """``stopped_ns``: when what was left was stopped, up to which workers of the backdrop live."""
    progress, earlier = told.by_worker[_key(report)], before.by_worker.get(_key(report))
    lived_ns = report.wall_time_ns - (stopped_ns - told.until_ns)
    if told.since_ns is not None:
        lived_ns = min(lived_ns, told.until_ns - told.since_ns)
    return Part(
        report=report,
        lived_ns=max(0, lived_ns),
        iterations=progress.iterations,
        work_units=progress.work_units,
        cpu_time_ns=progress.cpu_time_ns,
        migrations=progress.migrations,
        wakes=progress.wakes,
        max_gap_ns=progress.max_gap_ns,
        told=True,
        charged_ns=progress.cpu_time_ns + (0 if earlier is None else earlier.cpu_time_ns),
    )


def judge_phases(found: Iterable[Window], run: Run) -> list[Detail]:
    """The checks of single workers of the backdrop, in each phase of its own."""
    return [
        detail
        for window in found
        for number, parts in window.parts.items()
        for part in parts
        if part.told
        for check in (_starved, _stuck, _slow)
        if (detail := check(run.groups[number], part, window, run)) is not None
    ]


def _starved(group: Group, part: Part, window: Window, run: Run) -> Detail | None:
    """A worker that never sleeps did nothing in a whole phase; what it did in none at all is told of its life."""
    if not run.limits.on("not_starved") or part.work_units or not group.never_sleeps or not part.report.work_units:
        return None
    frozen_ns = run.restraint(group).frozen_within(window.begin_ns, window.end_ns)
    if had_no_turn(group, run, part.lived_ns, frozen_ns) is not None:
        return None
    what = (
        f"{who(run, group, part.report)} starved {window.words}: 0 work units with {part.cpu_time_ns / MS:.3f} ms of"
        f" CPU time, limit: more than 0 {run.limits.layer('not_starved')}"
    )
    excuse = machine.explains_charge(part.cpu_time_ns) or machine.explains_delay(run.machine, part.lived_ns)
    return Breach("Starved", group, what, 0, 0, part.report.index).judged(excuse)


def _stuck(group: Group, part: Part, window: Window, run: Run) -> Detail | None:
    """A gap that ended in this phase; the longest of its life is told with all that is known of it."""
    limit = run.limits.limit("max_gap_ms")
    restraint = run.restraint(group)
    if limit is None or part.max_gap_ns == part.report.max_gap_ns:
        return None
    allowed_ns = restraint.lengthened(limit * MS)
    if part.max_gap_ns <= allowed_ns:
        return None
    beyond = f"{run.limits.words('max_gap_ms')}{restraint.words(limit * MS)}"
    what = f"{who(run, group, part.report)} stuck {window.words}: gap {part.max_gap_ns / MS:.3f} ms > {beyond}"
    excuse = restraint.excuse() or machine.explains_wait(run.machine, part.report, part.max_gap_ns, allowed_ns)
    if excuse is None and part.max_gap_ns - part.charged_ns <= allowed_ns:
        excuse = f"how much of it was off CPU is not known, and it was charged {part.charged_ns / MS:.3f} ms"
    return Breach("Stuck", group, what, part.max_gap_ns / MS, limit, part.report.index).judged(excuse)


def _slow(group: Group, part: Part, window: Window, run: Run) -> Detail | None:
    floor = run.limits.limit("min_iteration_rate")
    restraint = run.restraint(group)
    wall_ns = part.lived_ns - restraint.frozen_within(window.begin_ns, window.end_ns)
    if not floor or wall_ns <= 0 or part.iterations * NS >= floor * wall_ns:
        return None
    rate = part.iterations * NS / wall_ns
    beyond = run.limits.words("min_iteration_rate")
    what = f"{who(run, group, part.report)}: {rate:.1f} iterations/s {window.words} < {beyond}"
    done = machine.Done(part.iterations, part.cpu_time_ns, wall_ns)
    excuse = restraint.excuse() or machine.explains_slowness(run.machine, done, floor)
    return Breach("Benchmark", group, what, rate, floor, part.report.index).judged(excuse)
