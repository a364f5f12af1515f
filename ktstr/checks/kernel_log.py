"""What the kernel complained of while the test ran: its scheduler's warnings, and bugs that it noticed itself.

A warning counts that comes from the scheduler or from cgroups, by the file it names, or from lockdep, which names none.
So does each ``BUG: `` that is no lockup: those are told by time, which an emulated or busy machine lacks as well. What
other parts of the kernel warn of is no word on a scheduler. An oops ends the machine (``vm.kernel_args``).
"""

from __future__ import annotations

import re

from ktstr.checks import quote
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import GuestRecord

CHECK = "no_kernel_warning"
# include/asm-generic/bug.h and kernel/panic.c: a warning, or an oops that did not end the machine.
WARNING = re.compile(r"\b(?:WARNING|BUG): ")
_LINE = re.compile(r"\[ *(\d+\.\d{6})\] (.*)")  # as the agent keeps it: vmm_c/guest/watch/kmsg.c
# __warn in kernel/panic.c: "WARNING: CPU: 2 PID: 97 at kernel/sched/core.c:3083 func+0x12/0x34"; the file before the
# CPU since 6.19.
_OF_SCHEDULER = re.compile(r"\bWARNING: (?:.* )?kernel/(?:sched|cgroup)/[\w/.-]+:\d+\b")
# kernel/locking/lockdep.c and kernel/rcu: what is reported without a file of its own.
_OF_LOCKDEP = re.compile(
    r"\bWARNING: (?:possible |inconsistent lock |bad unlock |suspicious RCU |nested lock |held lock )"
)
_BUG = re.compile(r"\bBUG: (?!.*\blockup\b)")
_MOST = 3


def complaints(text: str) -> list[tuple[str, str]]:
    """The lines that count, each once, with the kernel's time (s) of the first: of a log as the agent sends it."""
    found: dict[str, str] = {}
    for line in quote.lines(text):
        stamped = _LINE.fullmatch(line)
        when, said = (stamped[1], stamped[2]) if stamped else ("?", line)
        if any(pattern.search(said) for pattern in (_OF_SCHEDULER, _OF_LOCKDEP, _BUG)):
            found.setdefault(said, when)
    return [(when, said) for said, when in found.items()]


def judge(guest: GuestRecord, limits: Thresholds) -> list[Detail]:
    """A failure for each of the first complaints; none where the check is off."""
    if not limits.on(CHECK):
        return []
    found = complaints(guest.sched_kmsg)
    more = f"; {len(found) - _MOST} more" if len(found) > _MOST else ""
    return [
        Detail(
            Verdict.FAIL,
            "Invariant",
            f"the kernel complained at {when} s of its log: {said}"
            f"{more if place == _MOST - 1 else ''} ({limits.named(CHECK)})",
        )
        for place, (when, said) in enumerate(found[:_MOST])
    ]
