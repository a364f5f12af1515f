"""How long a program may take at most, in guest time: what its virtual deadline is made of.

Holds, delays, and every time limit in full; of a Repeat its duration and one pass more, which may begin just before
that is over. MARGIN_NS is for making and removing what is small. A guest that passes the deadline is stuck.
"""

from __future__ import annotations

from collections.abc import Iterable

from ktstr.scenarios.program import (
    Delay,
    Hold,
    Op,
    Repeat,
    Scope,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Wait,
)

STOP_WORKERS_NS = 5_000_000_000
STOP_SCHEDULER_NS = 5_000_000_000
MARGIN_NS = 10_000_000_000


def longest_ns(ops: Iterable[Op]) -> int:
    """The most that these ops take, one after the other."""
    return sum(_longest_ns(op) for op in ops)


def _longest_ns(op: Op) -> int:
    match op:
        case Hold():
            return op.duration_ns
        case Delay():
            return op.duration_ns + op.jitter_ns
        case StartScheduler():
            return 2 * op.timeout_ns  # a loader that fails is started once more
        case StopScheduler() | StopWorkers() | Wait():
            return op.timeout_ns
        case Scope():
            return op.timeout_ns + longest_ns(op.body)
        case Repeat():
            once = longest_ns(op.body)
            counted = op.count * (once + op.interval_ns) if op.count else 0
            timed = op.duration_ns + once if op.duration_ns else 0
            return min(counted, timed) if counted and timed else counted or timed
    return 0
