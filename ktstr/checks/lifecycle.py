"""What became of the scheduler under test: from its start to its verified detach.

A declared scheduler that never attached, died, was evicted or left something behind cannot pass. Its
own last words (its log) and the kernel's (``sched_ext`` lines) are quoted.
"""

from __future__ import annotations

import os
import signal

from ktstr.checks import quote
from ktstr.checks.verdict import Detail, Kind, Verdict
from ktstr.results.record import GuestRecord, SchedEvent

# kernel/sched/ext.c: what the watchdog's exit kind (SCX_EXIT_ERROR_STALL) is called.
WATCHDOG = "runnable task stall"
DIED = "scheduler process died"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _errno_name(number: int) -> str:
    return os.strerror(abs(number)) if number else "no error number"


def _last_words(guest: GuestRecord) -> str:
    words = quote.last_words(guest.sched_log)
    return f"; its last words: {words}" if words else "; it said nothing"


def kernel_words(guest: GuestRecord) -> str:
    """What the kernel said about evicting it: the lines with the cause first, else all the last ones."""
    lines = quote.lines(guest.sched_kmsg)
    telling = [line for line in lines if "disabled (" in line or "failed to run for" in line or WATCHDOG in line]
    return " | ".join(dict.fromkeys(telling[:3])) or " | ".join(lines[:3])


def _evicted(guest: GuestRecord, event: SchedEvent) -> str:
    text, said = quote.clean(event.text), kernel_words(guest)
    quoted = " | ".join(part for part in (text, said) if part)
    if WATCHDOG in f"{guest.sched_kmsg}\n{event.text}\n{guest.sched_log}":
        who = "the kernel's watchdog evicted the scheduler (runnable task stall)"
    else:
        who = "the kernel evicted the scheduler"
    return f"{who}: {quoted}" if quoted else f"{who}{_last_words(guest)}"


def _died(guest: GuestRecord, event: SchedEvent, attached: bool) -> str:
    when = "in mid-run" if attached else "at load, before it attached"
    how = f"exit status {event.code}" if event.kind == "exited" else _signal_name(event.code)
    return f"{DIED} {when} at {event.at_ns / 1e6:.3f} ms: {how}{_last_words(guest)}"


def _spawn_failed(guest: GuestRecord, event: SchedEvent) -> str:
    text = quote.clean(event.text)
    return f"{DIED} before it ran: {text or _errno_name(event.code)}"


def _timeout(guest: GuestRecord, event: SchedEvent) -> str:
    text = quote.clean(event.text)
    return f"the scheduler did not attach in time{f' ({text})' if text else ''}{_last_words(guest)}"


def _detach_failed(guest: GuestRecord, event: SchedEvent) -> str:
    text = quote.clean(event.text)
    return f"the scheduler did not detach: {text or _errno_name(event.code)}{_last_words(guest)}"


def _event(guest: GuestRecord, event: SchedEvent, attached: bool) -> tuple[Kind, str] | None:
    if event.kind == "evicted":
        return "Evicted", _evicted(guest, event)
    if event.kind == "spawn_failed":
        return "SchedulerDied", _spawn_failed(guest, event)
    if event.kind == "attach_timeout":
        return "NotAttached", _timeout(guest, event)
    if event.kind in ("exited", "signaled"):
        return "SchedulerDied", _died(guest, event, attached)
    if event.kind == "detach_failed":
        return "DetachFailed", _detach_failed(guest, event)
    return None


def _absent(guest: GuestRecord, scheduler: str, ended_well: bool) -> list[Detail]:
    """What the events do not say although they should."""
    kinds = {event.kind for event in guest.sched_events}
    if "attached" not in kinds:
        what = f"scheduler {scheduler} was declared but never seen to attach"
        return [Detail(Verdict.INCONCLUSIVE, "NotAttached", what)] if ended_well else []
    if "detached" not in kinds and ended_well and not guest.errors:
        what = f"scheduler {scheduler} attached, but its clean detach was not verified"
        return [Detail(Verdict.INCONCLUSIVE, "DetachFailed", what)]
    return []


def judge_scheduler(guest: GuestRecord, scheduler: str | None, *, ended_well: bool) -> list[Detail]:
    """The details of a scheduler's life; none for the kernel's own scheduler (``scheduler`` None).

    An end that follows an eviction or an ordered stop is its consequence and not told again.
    """
    if scheduler is None:
        return []
    found: list[Detail] = []
    attached = detached = False
    events = guest.sched_events
    evicted = any(event.kind == "evicted" for event in events)
    for event in events:
        attached |= event.kind == "attached"
        detached |= event.kind in ("detached", "detach_failed")
        if event.kind in ("exited", "signaled") and (evicted or detached):
            continue
        if (told := _event(guest, event, attached)) is not None:
            found.append(Detail(Verdict.FAIL, *told))
    return found or _absent(guest, scheduler, ended_well)
