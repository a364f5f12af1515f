"""Why sched_ext let go of a scheduler, as the kernel told it, and nobody else.

Of an error the kernel dumps the machine's state, and the number of the kind with it. Of other ends it has nothing but
the words of its log (``scx_exit_reason``): they are read only then, or where the dump did not come. What the scheduler
prints is not read: it may print anything, and of a scheduler before it.
"""

from __future__ import annotations

import re

from ktstr.checks import quote
from ktstr.checks.failure.scx_dump import parse_scx_dump
from ktstr.record.guest import GuestRecord
from ktstr.record.vocabulary import EXIT_KINDS

# scx_log_sched_disable and scx_enable of kernel/sched/ext.c.
_DISABLED = re.compile(r'sched_ext: BPF (?:sub-)?scheduler "[^"\n]*" disabled \(([^)\n]*)\)')
_ENABLED = re.compile(r'sched_ext: BPF scheduler "[^"\n]*" enabled')
_OF_REASON = {reason: kind for kind, reason in EXIT_KINDS.items()}


def exit_kind(guest: GuestRecord) -> str | None:
    """Why the kernel let go of a scheduler, the last time that it did, of ``EXIT_KINDS``; None where it did not say."""
    dumped = parse_scx_dump(guest.sched_dump) if guest.sched_dump else None
    if dumped is not None and dumped.exit is not None and dumped.exit.kind in EXIT_KINDS:
        return dumped.exit.kind
    reasons = _DISABLED.findall(kernel_log(guest))
    return _OF_REASON.get(reasons[-1]) if reasons else None


def was_enabled(guest: GuestRecord) -> bool:
    """Whether the kernel's log says that it enabled a scheduler."""
    return _ENABLED.search(kernel_log(guest)) is not None


def kernel_log(guest: GuestRecord) -> str:
    """What the kernel's log said of schedulers: all of it that was kept, then what was said of evictions."""
    evictions = (event.text for event in guest.sched_events if event.kind == "evicted")
    return "\n".join(map(quote.plain, (guest.sched_kmsg, *evictions)))
