"""The verdict on one cell, from its record, its thresholds and what was declared to run.

Order of thought: if the machine says nothing about kernel or scheduler, the outcome is ``error`` and
nobody is blamed. Otherwise the machine's end, the scheduler's life and the worker reports each give
details, and the worst of them is the verdict. The same record gives the same judgement always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktstr.checks import (
    callbacks,
    invariants,
    kernel_log,
    lifecycle,
    machine,
    monitor,
    quote,
    samples,
    shortage,
    temporal,
)
from ktstr.checks.bandwidth import judge_cgroups
from ktstr.checks.breach import STOP_TIMEOUT_NS, Run
from ktstr.checks.cleanup import judge_cleanup
from ktstr.checks.cpu_stat import used
from ktstr.checks.expectation import Inverted, invert
from ktstr.checks.memory import judge_memory
from ktstr.checks.model import CgroupSpan, Group, PhaseSpan, WorkGroup, gather
from ktstr.checks.payloads import Payload, gather_payloads, judge_payloads
from ktstr.checks.phases import Window, judge_phases, windows
from ktstr.checks.rates import judge_rates
from ktstr.checks.restraint import Restraints, restraints
from ktstr.checks.samples import View
from ktstr.checks.settings import Setting, judge_settings
from ktstr.checks.stats import scenario_stats
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict, fold
from ktstr.checks.whereabouts import explained
from ktstr.checks.workers import judge_workers
from ktstr.config.model import Expect, PayloadDecl
from ktstr.config.temporal import Temporal
from ktstr.record.cell import CellRecord
from ktstr.record.guest import GuestRecord
from ktstr.record.machine import VERDICT_EXITS, MachineEnd
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import Monitor, PayloadMetrics
from ktstr.record.statistics import ScenarioStats


@dataclass(frozen=True)
class Expected:
    """What the cell was to do. ``scheduler``: the name of the binary scheduler, None for the kernel's own;
    ``attach_timeout_ns``: how long it could take to attach; ``memory_mib``: the guest's. ``expect``: how the run had to
    end, None for one that had to pass. ``settings``: what had to be read back, by the place of the op that did.
    ``temporal``: what is to hold over time; ``captures``: how many samples, evenly apart, are to be had. ``phases`` and
    ``spans``: of a scenario with steps, and of cgroups whose cpu.stat is read. ``cleanup_budget_ns``: for taking
    everything down, None for any time. ``offline``: CPUs that are so before the scheduler attaches; ``isolated``: those
    that no load is balanced to (isolcpus). ``payloads``: by place in the program's table. ``cpu_controller``: whether
    cgroups share CPUs at all.
    """

    works: Sequence[WorkGroup]
    scheduler: str | None
    accel: str
    stop_timeout_ns: int = STOP_TIMEOUT_NS
    attach_timeout_ns: int | None = None
    memory_mib: int | None = None
    temporal: Sequence[Temporal] = ()
    captures: int = 0
    expect: Expect | None = None
    settings: Mapping[int, Setting] = field(default_factory=dict)
    payloads: Mapping[int, PayloadDecl] = field(default_factory=dict)
    phases: Sequence[PhaseSpan] = ()
    spans: Sequence[CgroupSpan] = ()
    cleanup_budget_ns: int | None = None
    offline: Sequence[int] = ()
    isolated: Sequence[int] = ()
    cpu_controller: bool = True


@dataclass(frozen=True)
class Judgement:
    """The outcome, its reasons (worst first) and the run's statistics (None for an error).

    ``expected_failure``: it passed because it failed as it had to. ``monitor``: what the samples come to, None without
    any while the workload ran. ``captures_had``, of ``captures_wanted``. ``payloads``: what they printed.
    ``steps``: what sidecars call the ops that begin and end a step, by their places. ``work_types``: of works, by the
    index that reports carry.
    """

    outcome: Outcome
    details: tuple[Detail, ...]
    stats: ScenarioStats | None
    expected_failure: bool = False
    monitor: Monitor | None = None
    captures_had: int = 0
    captures_wanted: int = 0
    payloads: tuple[PayloadMetrics, ...] = ()
    steps: Mapping[int, str] = field(default_factory=dict)
    work_types: Mapping[int, str] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The messages, as tables and JSON output show them."""
        return tuple(detail.message for detail in self.details)


EMULATED = frozenset({"icount", "tcg"})  # machines whose speed is the emulator's

_ERRORS = {
    "host_timeout": "the machine did not finish within its limit of host time",
    "channel_lost": "the channel to the guest was lost",
    "channel_garbage": "the guest sent bytes that are no frames",
    "channel_flood": "the guest sent more than a run may send",
    "killed": "the machine was killed",
    "emulator_failed": "the machine itself failed",
    "clean": "the guest powered off without ending its report",
}


def machine_error(record: CellRecord) -> str | None:
    """Why this record says nothing about kernel or scheduler; None when it does."""
    end = record.end
    if end.reason in VERDICT_EXITS and not (end.reason == "clean" and not record.guest.ended):
        return None
    return _ERRORS.get(end.reason, end.reason) + _quoted(end.detail)


def guest_error(guest: GuestRecord, end: MachineEnd, expected: Expected) -> str | None:
    """Why the guest was no machine that the scheduler could run on: too small, or too slow; None when it was."""
    if (missing := shortage.no_sched_ext(guest)) is not None:
        return missing
    words = shortage.out_of_memory(guest, end)
    if words is not None:
        return shortage.too_small(guest, words, expected.memory_mib)
    if expected.accel in EMULATED and any(event.kind == "attach_timeout" for event in guest.sched_events):
        return shortage.too_slow(guest, expected.scheduler, expected.attach_timeout_ns)
    return None


def _quoted(detail: str) -> str:
    """The end of a sentence that quotes what a machine said of its end; empty when it said nothing."""
    text = quote.clean(detail)
    return f": {text}" if text else ""


def _end(end: MachineEnd, guest: GuestRecord, accel: str) -> list[Detail]:
    """What the machine's end says about the kernel under test."""
    tail = _quoted(end.detail)
    when = "" if guest.kernel_release else " before the agent said a word"
    if end.reason == "panic":
        return [Detail(Verdict.FAIL, "Panic", f"the kernel panicked{when}{tail}")]
    if end.reason == "triple_fault":
        return [Detail(Verdict.FAIL, "Panic", f"the guest died of a triple fault{when}{tail}")]
    if end.reason == "virtual_deadline" or guest.deadline_hit:
        return [_deadline(tail, accel)]
    return []


def _deadline(tail: str, accel: str) -> Detail:
    """With a thread per vCPU the guest's clock follows a host that may be slow; else the time is the guest's own."""
    what = f"the scenario did not end within its virtual deadline{tail}"
    if accel == "tcg":
        return Detail(Verdict.INCONCLUSIVE, "Deadline", f"{what}; under tcg a slow host can be the cause")
    return Detail(Verdict.FAIL, "Deadline", what)


def _set_up(guest: GuestRecord) -> list[Detail]:
    return [
        Detail(Verdict.INCONCLUSIVE, "Setup", f"a step of the scenario failed in the guest: {quote.clean(error)}")
        for error in guest.errors
    ]


def _excused(details: list[Detail]) -> list[Detail]:
    """Worker checks of a scenario that did not run as declared: they may hint, they cannot blame."""
    return [
        replace(d, verdict=Verdict.INCONCLUSIVE, message=f"{d.message}; the scenario did not run as declared")
        if d.verdict is Verdict.FAIL
        else d
        for d in details
    ]


def _monitored(record: CellRecord, found: _Seen, limits: Thresholds, expected: Expected) -> list[Detail]:
    """What the samples of the runqueues say."""
    seen = found.view
    if seen is None:
        asked = [f"{name} was set but not evaluated" for name in limits.unmonitored()]
        asked += [f"{assertion.text}: not evaluated" for assertion in expected.temporal]
        return [Detail(Verdict.INCONCLUSIVE, "Monitor", f"{what}: {_why_unseen(record)}") for what in asked]
    plain = all(work.nice == 0 and work.policy == "normal" for work in expected.works)
    even = plain and expected.cpu_controller and not found.restraints.uneven
    watched = invariants.Watched(seen, limits, expected.accel == "icount", even, found.groups)
    return [
        *monitor.judge(seen, limits, sched_ext=expected.scheduler is not None),
        *invariants.judge(watched),
        *temporal.judge(seen, expected.temporal),
    ]


def _why_unseen(record: CellRecord) -> str:
    if record.monitor is None:
        return "runqueues were not sampled"
    return record.monitor.unwatched or "no sample was taken while the workload ran"


def _late(details: list[Detail], guest: GuestRecord, run: Run) -> list[Detail]:
    """Timeouts of the guest are no fault of anybody's in it when its vCPUs waited that long for the host."""
    stalled_ns = lifecycle.stall_ns(guest)
    least = {"Deadline": run.stop_timeout_ns, "NotAttached": run.stop_timeout_ns, "Evicted": stalled_ns}
    return [_excused_by_wait(detail, least.get(detail.kind), run) for detail in details]


def _excused_by_wait(detail: Detail, least_ns: float | None, run: Run) -> Detail:
    if detail.verdict is not Verdict.FAIL or least_ns is None:
        return detail
    excuse = machine.explains_delay(run.machine, least_ns)
    if excuse is None:
        return detail
    return replace(detail, verdict=Verdict.INCONCLUSIVE, message=f"{detail.message}; {excuse}")


@dataclass(frozen=True)
class _Seen:
    """What a record holds, as it is judged."""

    groups: tuple[Group, ...]
    view: View | None
    restraints: Restraints
    windows: tuple[Window, ...]
    payloads: tuple[Payload, ...]


def _seen(record: CellRecord, expected: Expected) -> _Seen:
    guest = record.guest
    groups = gather(expected.works, guest.workers)
    held = restraints(guest, expected.settings, expected.offline, expected.isolated)
    found = windows(expected.phases, guest, groups)
    ended_ns = max((window.end_ns for window in found), default=None)
    payloads = gather_payloads(expected.payloads, guest)
    return _Seen(groups, samples.view(record, held, ended_ns), held, found, payloads)


def _of_workers(guest: GuestRecord, seen: _Seen, run: Run, expected: Expected) -> list[Detail]:
    """What workers, cgroups and memory say."""
    single = [*judge_workers(seen.groups, run), *judge_phases(seen.windows, run)]
    return [
        *explained(single, guest.workers, seen.view),
        *judge_rates(seen.groups, seen.windows, run),
        *judge_cgroups(used(expected.spans, guest.reads or ()), run),
        *judge_memory(seen.groups, guest, run),
    ]


def _details(record: CellRecord, seen: _Seen, limits: Thresholds, expected: Expected) -> list[Detail]:
    guest = record.guest
    evidence = machine.evidence(expected.accel, guest.workers, record.end.kvm)
    phased = bool(expected.phases)
    run = Run(limits, evidence, expected.stop_timeout_ns, seen.restraints, seen.groups, phased)
    causes = _end(record.end, guest, expected.accel)
    causes += lifecycle.judge_scheduler(guest, expected.scheduler, ended_well=not causes)
    causes = _late(causes, guest, run)
    cut_short = bool(causes) and not guest.workers
    set_up = [*_set_up(guest), *judge_settings(expected.settings, guest)]
    worker = [] if cut_short else _of_workers(guest, seen, run, expected)
    worker += judge_payloads(seen.payloads, expected.accel, whole=not causes)
    worker += _monitored(record, seen, limits, expected)
    if expected.scheduler is not None:
        worker += callbacks.judge(record, limits)
    warned = kernel_log.judge(guest, limits)
    if not causes:
        worker += judge_cleanup(guest, seen.windows, expected.cleanup_budget_ns, run)
    if set_up:
        worker = _excused(worker)
    elif causes:
        # Workers whose reports never came were lost to the cause above; those that came are judged.
        worker = [d for d in worker if not (d.kind == "Starved" and d.worker is None)]
    return [*causes, *warned, *set_up, *worker]


def judge(record: CellRecord, limits: Thresholds, expected: Expected) -> Judgement:
    """The judgement of one cell.

    A pass means that every gate was evaluated and held, that the declared scheduler attached and
    detached, and that the machine ended by itself.
    """
    error = machine_error(record) or guest_error(record.guest, record.end, expected)
    if error is not None:
        return Judgement(Outcome.ERROR, (Detail(Verdict.INCONCLUSIVE, "Machine", error),), None)
    seen = _seen(record, expected)
    judged = Inverted(tuple(_details(record, seen, limits, expected)), expected_failure=False)
    if expected.expect is not None:
        judged = invert(expected.expect, record.guest, judged.details)
    details = tuple(sorted(judged.details, key=lambda d: -d.verdict))
    verdict = fold([Verdict.PASS, *(d.verdict for d in details)])
    stats = scenario_stats(seen.groups, record.guest.stimuli, seen.windows)
    if seen.view is not None:
        stats = monitor.with_phases(stats, seen.view)
    return Judgement(
        verdict.outcome,
        details,
        stats,
        judged.expected_failure,
        None if seen.view is None else monitor.summary(seen.view),
        0 if seen.view is None else monitor.captured(seen.view, expected.captures),
        expected.captures,
        tuple(payload.results() for payload in seen.payloads),
        _step_labels(expected.phases),
        {work.work_index: work.work_type for work in expected.works},
    )


def _step_labels(phases: Sequence[PhaseSpan]) -> dict[int, str]:
    ends = {phase.end_op: f"StepEnd[{phase.index - 1}]" for phase in phases if phase.index}
    return ends | {phase.begin_op: f"StepStart[{phase.index - 1}]" for phase in phases if phase.index}
