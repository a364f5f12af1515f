"""What became of the scheduler under test: from its start to its verified detach.

A declared scheduler that never attached, died, was evicted or left something behind cannot pass. Its
own last words (its log) and the kernel's (``sched_ext`` lines) are quoted.
"""

from __future__ import annotations

import os
import re
import signal

from ktstr.checks import quote
from ktstr.checks.failure.exit_kind import exit_kind
from ktstr.checks.kernel_log import WARNING
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import GuestRecord, Refusal, SchedEvent
from ktstr.record.outcome import ReasonKind

# kernel/sched/ext.c: what the watchdog's exit kind (SCX_EXIT_ERROR_STALL) is called.
WATCHDOG = "runnable task stall"
# check_rq_for_timeouts there, which runs every half of the timeout: what it tells is up to 1.5 times the timeout.
_STALL = re.compile(r"failed to run for (\d{1,6})\.(\d{3})s")
DIED = "scheduler process died"
_BY_THE_WAY = re.compile(r'" enabled|" does not implement | is deprecated, ')
_STAMP = re.compile(r"^\[ *\d+\.\d{6}\] ")  # of the kernel's log, as the agent keeps it
SIGNALED = 128  # the agent's code for a process that died of a signal while it was being stopped
_FATAL = frozenset(s.value for s in signal.Signals) - {signal.SIGINT.value}
ENDS = frozenset({"exited", "signaled", "evicted", "detached", "detach_failed"})


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


def _refused(refusal: Refusal | None) -> str:
    """What the kernel refused it, by name and in the kernel's words; or that it was not that."""
    if refusal is None:
        return ""
    again = "started once more with its bpf(2) calls traced"
    otherwise = "" if refusal.alike else f"; {again}, it ended otherwise than the first time"
    if refusal.outcome == "refused":
        return f"; {quote.refusal(refusal, 3)}{otherwise}"
    if refusal.outcome == "accepted":
        none = f"none of {refusal.calls}" if refusal.calls else "nothing: it made no bpf(2) call"
        return f"; {again}, the kernel refused it {none}{'' if refusal.alike else '; it ended otherwise than before'}"
    if refusal.outcome == "untraced":
        return f"; its bpf(2) calls could not be traced: {_errno_name(refusal.error)}"
    return f"; {again}, it {'attached' if refusal.outcome == 'attached' else 'went on until it was ended'}"


def _why_not_loaded(guest: GuestRecord) -> str:
    """What kernel, libbpf, verifier and the scheduler itself said until it was to have attached."""
    words = quote.telling_words(guest.sched_log)
    said = map(_unstamped, quote.lines(guest.sched_kmsg))
    warnings = list(dict.fromkeys(line for line in said if WARNING.search(line) or _is_of_sched_ext(line)))[:2]
    kernel = f"; the kernel: {' | '.join(warnings)}" if warnings else ""
    kernel = f"{_refused(guest.refusal)}{kernel}"
    return f"{kernel}; its words: {words}" if words else f"{kernel}; it said nothing"


def _unstamped(line: str) -> str:
    return _STAMP.sub("", line)


def _is_of_sched_ext(line: str) -> bool:
    """Whether sched_ext complains in this line of the kernel's."""
    return "sched_ext:" in line and _BY_THE_WAY.search(line) is None


def kernel_words(text: str) -> str:
    """What the kernel said about an eviction: its ``sched_ext`` lines but not the stack, at most three."""
    lines = list(map(_unstamped, quote.lines(text)))
    telling = [line for line in lines if _is_of_sched_ext(line)]
    return " | ".join(list(dict.fromkeys(telling or lines))[:3])


def stall_ns(guest: GuestRecord) -> float | None:
    """How much of the stall the watchdog told of can be beyond its timeout: a third. None when it told of none."""
    texts = (*(event.text for event in guest.sched_events if event.kind == "evicted"), guest.sched_kmsg)
    matches = [match for text in texts if (match := _STALL.search(text)) is not None]
    stalls = [int(match.group(1)) * 1_000_000_000 + int(match.group(2)) * 1_000_000 for match in matches]
    return max(stalls) / 3 if stalls else None


def _evicted(guest: GuestRecord, event: SchedEvent) -> str:
    reason = kernel_words(f"{event.text}\n{guest.sched_kmsg}")
    stalled = exit_kind(guest) == "error_stall"
    who = f"the kernel's watchdog evicted the scheduler ({WATCHDOG})" if stalled else "the kernel evicted the scheduler"
    return f"{who}{f': {reason}' if reason else ''}{_last_words(guest)}"


def _died(guest: GuestRecord, event: SchedEvent, attached: bool) -> str:
    when = "in mid-run" if attached else "at load, before it attached"
    how = f"exit status {event.code}" if event.kind == "exited" else _signal_name(event.code)
    words = _last_words(guest) if attached else _why_not_loaded(guest)
    if not attached and event.kind == "exited" and event.code == 0:
        how += " (a scheduler has to stay in the foreground)"
    return f"{DIED} {when} at {event.at_ns / 1e6:.3f} ms: {how}{words}"


def _spawn_failed(guest: GuestRecord, event: SchedEvent) -> str:
    text = quote.clean(event.text)
    return f"{DIED} before it ran: {text or _errno_name(event.code)}"


def _timeout(guest: GuestRecord, event: SchedEvent) -> str:
    text = quote.clean(event.text)
    return f"the scheduler did not attach in time{f' ({text})' if text else ''}{_why_not_loaded(guest)}"


def _detach_failed(guest: GuestRecord, event: SchedEvent) -> str:
    text = quote.clean(event.text)
    return f"the scheduler did not detach: {text or _errno_name(event.code)}{_last_words(guest)}"


def _failure(kind: ReasonKind, message: str) -> Detail:
    return Detail(Verdict.FAIL, kind, message)


def _detached(guest: GuestRecord, event: SchedEvent) -> Detail | None:
    """A detach is clean when the process ended at the SIGINT it was sent, by itself or of that signal."""
    text = quote.clean(event.text)
    crashed = event.code - SIGNALED in _FATAL
    if not text and not crashed:
        return None
    how = text or f"died of {_signal_name(event.code - SIGNALED)}"
    return _failure("DetachFailed", f"the scheduler detached, but not cleanly: it {how}{_last_words(guest)}")


def _event(guest: GuestRecord, event: SchedEvent, attached: bool) -> Detail | None:
    """What one step says against the scheduler; None for a step that is as it should be."""
    if event.kind == "evicted":
        return _failure("Evicted", _evicted(guest, event))
    if event.kind == "spawn_failed":
        return _failure("SchedulerDied", _spawn_failed(guest, event))
    if event.kind == "attach_timeout":
        return _failure("NotAttached", _timeout(guest, event))
    if event.kind in ("exited", "signaled"):
        return _failure("SchedulerDied", _died(guest, event, attached))
    if event.kind == "detach_failed":
        return _failure("DetachFailed", _detach_failed(guest, event))
    return _detached(guest, event) if event.kind == "detached" else None


def _absent(guest: GuestRecord, scheduler: str, ended_well: bool) -> list[Detail]:
    """What the events do not say although they should."""
    kinds = [event.kind for event in guest.sched_events]
    if "attached" not in kinds:
        what = f"scheduler {scheduler} was declared but never seen to attach"
        return [Detail(Verdict.INCONCLUSIVE, "NotAttached", what)] if ended_well else []
    if kinds.count("detached") < kinds.count("attached") and ended_well and not guest.errors:
        what = f"scheduler {scheduler} attached, but its clean detach was not verified"
        return [Detail(Verdict.INCONCLUSIVE, "DetachFailed", what)]
    return []


def judge_scheduler(guest: GuestRecord, scheduler: str | None, *, ended_well: bool) -> list[Detail]:
    """The details of a scheduler's life; none for the kernel's own scheduler (``scheduler`` None).

    Its first end is the cause: an eviction after its own death, or its death after an eviction or an
    ordered stop, is a consequence and not told.
    """
    if scheduler is None:
        return []
    details: list[Detail] = []
    attached = ended = False
    for event in guest.sched_events:
        if event.kind == "started":  # it may be started again within a run
            attached = ended = False
        attached |= event.kind == "attached"
        if event.kind in ENDS and ended:
            continue
        ended |= event.kind in ENDS
        if (detail := _event(guest, event, attached)) is not None:
            details.append(detail)
    return details or _absent(guest, scheduler, ended_well)
