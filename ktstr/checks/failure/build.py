"""A failure dump, made from a cell's record and its console."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from ktstr.checks import quote
from ktstr.checks.failure.exit_kind import exit_kind
from ktstr.checks.failure.scx_dump import ScxDump, parse_scx_dump, text_lines
from ktstr.checks.failure.summary import Findings, summarize
from ktstr.checks.verifier.programs import verifier_stats
from ktstr.record.cell import CellRecord
from ktstr.record.dump import (
    DUMP_VERSION,
    DumpedMachine,
    ExitInfo,
    ExitKind,
    FailureDump,
    Inspected,
    Part,
    Snapshot,
    Stage,
)
from ktstr.record.guest import GuestRecord, Refusal, SchedEvent
from ktstr.record.machine import FINE_EXITS
from ktstr.record.sidecar import Accel
from ktstr.record.vocabulary import EXIT_KINDS

CONSOLE_LINES, LOG_LINES, KERNEL_LINES = 40, 200, 40
DUMP_LINES = 2000
# How a scheduler is lost without being asked to go; the first one is the cause.
_LOST = frozenset({"exited", "signaled", "evicted", "attach_timeout", "spawn_failed", "detach_failed"})
_GONE = "the scheduler was gone before its memory could be read"
# The machine turning itself off, which is after the run: no part of it.
_OFF = re.compile(r"^\[ *\d+\.\d{6}\] reboot: Power down\s*\Z", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """Which cell a dump is of, the scheduler that it declares, and the end of its console."""

    name: str
    scheduler: str
    accel: Accel
    console: str


def lost_event(guest: GuestRecord) -> SchedEvent | None:
    """How the scheduler was lost; None for one that went when it was asked to, or is still there."""
    for event in guest.sched_events:
        if event.kind in _LOST:
            return event
        if event.kind == "detached":
            return None
    return None


def failure_dump(cell: Cell, record: CellRecord) -> FailureDump | None:
    """The dump of a cell whose scheduler was lost, or whose machine ended badly under it; None for any other."""
    guest, event = record.guest, lost_event(record.guest)
    machine = DumpedMachine(record.end.reason, quote.clean(record.end.detail))
    if event is None and machine.reason in FINE_EXITS:
        return None
    name = _ops_name(guest)
    parsed = _parsed(guest, event)
    exit_ = _exit(guest, event, parsed)
    late = _late(parsed, record.inspected)
    early = None if record.inspected is None else record.inspected.early
    findings = Findings(
        scheduler=name,
        declared=cell.scheduler,
        event=event,
        exit=exit_,
        machine=machine,
        snapshot=late,
        early=early,
        cpus=len(guest.cpus),
        log=guest.sched_log,
        refusal=guest.refusal,
    )
    return FailureDump(
        version=DUMP_VERSION,
        is_placeholder=name is None,
        stage=stage_of(guest, event),
        summary=summarize(findings),
        cell=cell.name,
        input_digest=record.input_digest,
        accel=cell.accel,
        scheduler=name,
        kernel_release=None if guest.kernel_release is None else quote.clean(guest.kernel_release),
        exit=exit_,
        machine=machine,
        late=late,
        early=early,
        verifier_stats=verifier_stats(record.inspected),
        sched_ext_dump="\n".join(text_lines(guest.sched_dump or "")[:DUMP_LINES]),
        console=_last(_OFF.sub("", cell.console), CONSOLE_LINES),
        scheduler_log=_last(guest.sched_log, LOG_LINES),
        kernel_log=_last(guest.sched_kmsg, KERNEL_LINES),
        refusal_log=_refusal_log(guest.refusal),
        unavailable=_unavailable(record, exit_, late, is_placeholder=name is None),
    )


def _refusal_log(refusal: Refusal | None) -> tuple[str, ...]:
    """What the kernel said of what it refused; empty for a loader that was refused nothing."""
    return () if refusal is None or refusal.outcome != "refused" else _last(refusal.text, LOG_LINES)


def _late(parsed: ScxDump | None, inspected: Inspected | None) -> Snapshot | None:
    """The kernel's own dump, of the moment at which it gave up; else the machine as it was left."""
    if parsed is not None:
        return parsed.snapshot
    return None if inspected is None else inspected.late


def stage_of(guest: GuestRecord, lost: SchedEvent | None) -> Stage:
    """How far a run had come when its scheduler was lost, else at its end: by the last thing that the guest told of."""
    kinds = {event.kind for event in guest.sched_events}
    ops = {step.op for step in guest.stimuli if lost is None or step.at_ns <= lost.at_ns}
    if "StopWorkers" in ops:
        return "workload_ended"
    if "Release" in ops:
        return "workload_started"
    if "attached" in kinds:
        return "scheduler_attached"
    if "started" in kinds:
        return "scheduler_started"
    return "guest_silent" if guest.kernel_release is None else "guest_ready"


def _ops_name(guest: GuestRecord) -> str | None:
    names = [event.text for event in guest.sched_events if event.kind == "attached"]
    return (quote.clean(names[-1]) or "the scheduler") if names else None


def _parsed(guest: GuestRecord, event: SchedEvent | None) -> ScxDump | None:
    """The kernel's dump: from the tracepoint, else as the loader printed it."""
    at_ns = None if event is None else event.at_ns
    for text in (guest.sched_dump, guest.sched_log):
        if text and (found := parse_scx_dump(text, at_ns)) is not None:
            return found
    return None


def _exit(guest: GuestRecord, event: SchedEvent | None, parsed: ScxDump | None) -> ExitInfo | None:
    """How the kernel let go: by its dump, else by its log."""
    if parsed is not None and parsed.exit is not None:
        return parsed.exit
    if event is None or event.kind != "evicted":
        return None
    kind = exit_kind(guest)
    if kind is None or not kind.startswith("error"):
        return None
    return ExitInfo(
        kind=cast(ExitKind, kind),
        reason=EXIT_KINDS[kind],
        message=_message(f"{event.text}\n{guest.sched_kmsg}"),
        cpu=None,
        task=None,
        backtrace=(),
        at_ns=event.at_ns,
    )


def _message(text: str) -> str:
    """What the kernel's log says beside "disabled": its line begins with the scheduler's name (scx_root_disable)."""
    for line in quote.lines(text):
        _, found, rest = line.partition("sched_ext: ")
        if found and not rest.startswith("BPF scheduler ") and ": " in rest:
            return rest.partition(": ")[2]
    return ""


def _last(text: str, count: int) -> tuple[str, ...]:
    return tuple(line for line in (quote.clean(line) for line in text.splitlines()[-count:]))


def _unavailable(
    record: CellRecord, exit_: ExitInfo | None, late: Snapshot | None, *, is_placeholder: bool
) -> dict[Part, str]:
    """Why each part that is not there is not."""
    why = "the scheduler never attached" if is_placeholder else _GONE
    guest, found = record.guest, dict[Part, str]()
    if record.inspected is None or record.inspected.early is None:
        unread = None if record.inspected is None else record.inspected.unread
        found["early"] = unread or "no task was seen to wait half of what the watchdog allows"
    if exit_ is None:
        found["exit"] = "sched_ext told of no exit"
    if not guest.sched_dump:
        found["sched_ext_dump"] = "sched_ext printed none: it does on errors alone, where the kernel has tracepoints"
    if late is None:
        parts: Iterable[Part] = ("cpus", "waiting", "dsqs", "programs", "maps", "registers", "stacks")
        found |= dict.fromkeys(parts, why)
    logs: dict[Part, str] = {"scheduler_log": guest.sched_log, "kernel_log": guest.sched_kmsg}
    found |= {part: "it said nothing" for part, text in logs.items() if not text}
    return found
