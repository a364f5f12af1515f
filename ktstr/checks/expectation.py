"""Runs that must not pass: a scheduler that has to be refused, die, be evicted or stall.

A run that ends as ``expect:`` says passes, and is marked as an expected failure, so that no comparison uses its
numbers. What else the run shows is then what comes of such an end and is judged no more, but for a kernel that
panicked and a scheduler that did not detach. A run that ends otherwise fails, and the reason says how it ended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ktstr.checks import lifecycle, quote
from ktstr.checks.failure.exit_kind import exit_kind, was_enabled
from ktstr.checks.verdict import Detail, Verdict, fold
from ktstr.config.model import Expect
from ktstr.record.guest import GuestRecord
from ktstr.record.outcome import ReasonKind
from ktstr.record.vocabulary import EXIT_KINDS

How: TypeAlias = Literal["refused", "died", "evicted", "detached", "late", "unfinished"]

_WORDS = {
    "refused": "be refused at load",
    "dies": "die in mid-run",
    "evicted": "be evicted by the kernel",
    "stalls": "be evicted by the kernel's watchdog",
    "fails": "fail",
}
# What stands whatever was expected, and what may be the machine's doing instead of what was expected.
_STANDS: frozenset[ReasonKind] = frozenset({"Panic", "DetachFailed"})
_OF_LIFE: frozenset[ReasonKind] = frozenset({"NotAttached", "Evicted", "SchedulerDied", "Deadline", "Setup"})


@dataclass(frozen=True)
class Ending:
    """How a scheduler's life ended. ``exit_kind``: of ``EXIT_KINDS``, None where the kernel did not say it.

    ``words``: all that scheduler and kernel said, of which ``shown`` is what a message quotes.
    """

    how: How
    exit_kind: str | None
    words: str
    shown: str


@dataclass(frozen=True)
class Inverted:
    """The details after the inversion, and whether a failure that was expected became a pass."""

    details: tuple[Detail, ...]
    expected_failure: bool


def ending(guest: GuestRecord) -> Ending:
    """How the life of the scheduler that a guest ran ended, by its first end since it was started for the last time.

    One that the kernel let go of before it was enabled was refused: its init failed, or the watchdog came first.
    """
    refused = "" if guest.refusal is None else f"{guest.refusal.command} {guest.refusal.name}: {guest.refusal.text}"
    texts = [*(event.text for event in guest.sched_events), guest.sched_kmsg, guest.sched_log, refused]
    words = "\n".join(map(quote.plain, texts))
    every = [event.kind for event in guest.sched_events]
    kinds = every[max((place for place, kind in enumerate(every) if kind == "started"), default=0) :]
    attached = "attached" in kinds or (every.count("started") == 1 and was_enabled(guest))
    first = next((kind for kind in kinds if kind in lifecycle.ENDS), None)
    if first in ("exited", "signaled", "spawn_failed", "evicted") and not attached:
        how: How = "refused"
    elif first in ("exited", "signaled"):
        how = "died"
    elif first == "evicted":
        how = "evicted"
    elif first == "detached":
        how = "detached"
    else:
        how = "late" if "attach_timeout" in kinds else "unfinished"
    shown = lifecycle.kernel_words(guest.sched_kmsg) if how == "evicted" else quote.telling_words(guest.sched_log)
    return Ending(how, exit_kind(guest), words, shown or quote.last_words(words))


def invert(expect: Expect, guest: GuestRecord, details: Sequence[Detail]) -> Inverted:
    """The details of a run, judged as any other, as ``expect`` has them."""
    found = ending(guest)
    if expect.end == "fails":
        return _any_failure(expect, found, details)
    verdict = fold(detail.verdict for detail in details if detail.kind in _OF_LIFE)
    if not _is_met(expect, found):
        if verdict is Verdict.INCONCLUSIVE:
            return Inverted((_unknown(expect), *details), False)
        return Inverted((_otherwise(expect, found), *details), False)
    if verdict is Verdict.INCONCLUSIVE:  # the machine may have been the cause
        return Inverted((_unknown(expect), *details), False)
    standing = tuple(detail for detail in details if detail.kind in _STANDS)
    rest = tuple(replace(detail, verdict=Verdict.PASS) for detail in details if detail.kind not in _STANDS)
    return Inverted((*standing, _met(expect), *rest), fold(d.verdict for d in standing) < Verdict.INCONCLUSIVE)


def _any_failure(expect: Expect, found: Ending, details: Sequence[Detail]) -> Inverted:
    """``fails``: whatever the verdict is for; its reasons are words that ``message`` may match too."""
    failures = [detail for detail in details if detail.verdict is Verdict.FAIL]
    if not failures:
        if fold(detail.verdict for detail in details) is Verdict.INCONCLUSIVE:
            return Inverted((_unknown(expect), *details), False)
        return Inverted((_failure("expected the run to fail, but it passed"), *details), False)
    words = "\n".join((found.words, *(detail.message for detail in failures)))
    if not re.search(expect.message, words):
        return Inverted((_failure(_not_said(expect, "it failed", failures[0].message)), *details), False)
    return Inverted((_met(expect), *(replace(detail, verdict=Verdict.PASS) for detail in details)), True)


def _is_met(expect: Expect, found: Ending) -> bool:
    return _ended_so(expect, found) and re.search(expect.message, found.words) is not None


def _ended_so(expect: Expect, found: Ending) -> bool:
    """Whether it ended so, whatever was said of it."""
    if expect.end == "refused":
        return found.how == "refused"
    if expect.end == "dies":
        return found.how == "died"
    kind = "error_stall" if expect.end == "stalls" else expect.exit_kind
    return found.how == "evicted" and kind in (None, found.exit_kind)


def _otherwise(expect: Expect, found: Ending) -> Detail:
    if _ended_so(expect, found):
        return _failure(_not_said(expect, _told(found), found.shown))
    words = f": {found.shown}" if found.shown and found.how != "detached" else ""
    return _failure(f"{_wanted(expect)}, but {_told(found)}{words}")


def _not_said(expect: Expect, what: str, words: str) -> str:
    said = f"; what was said: {quote.clean(words)}" if words else "; nothing was said"
    return f"{_wanted(expect)} with words like /{expect.message}/, and {what}, but no word is like that{said}"


def _wanted(expect: Expect) -> str:
    kind = "" if expect.exit_kind is None else f" ({EXIT_KINDS[expect.exit_kind]})"
    who = "the run" if expect.end == "fails" else "the scheduler"
    return f"expected {who} to {_WORDS[expect.end]}{kind}"


def _told(found: Ending) -> str:
    kind = "" if found.exit_kind is None else f" ({EXIT_KINDS[found.exit_kind]})"
    return {
        "refused": "it was refused at load",
        "died": "it died in mid-run",
        "evicted": f"the kernel evicted it{kind}",
        "detached": "it attached, ran to the end and detached",
        "late": "it did not attach in time",
        "unfinished": "it did not end at all",
    }[found.how]


def _met(expect: Expect) -> Detail:
    return Detail(Verdict.PASS, "NotAsExpected", f"as expected: {_wanted(expect).removeprefix('expected ')}")


def _unknown(expect: Expect) -> Detail:
    what = f"{_wanted(expect)}; whether it did cannot be told from this run"
    return Detail(Verdict.INCONCLUSIVE, "NotAsExpected", what)


def _failure(message: str) -> Detail:
    return Detail(Verdict.FAIL, "NotAsExpected", message)
