"""What becomes of a scheduler within a run: from declared moments to ops between the holds of the workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.config.model import SchedulerOp
from ktstr.scenarios.program import Hold, Op, Payload, StartScheduler, StopScheduler


@dataclass(frozen=True)
class Moment:
    """What is done to the scheduler after so much of the workload's duration."""

    at_ns: int
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class SchedulerLife:
    """The ops of the workload's duration, with the payloads that they start and what they may take at most.

    ``attached``: whether the scheduler is attached when they are over. ``moments``: the same ops without the holds.
    """

    ops: tuple[Op, ...]
    payloads: tuple[Payload, ...]
    longest_ns: int
    attached: bool
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True)
class Loader:
    """What attaches a scheduler, and how long that may take."""

    payload: Payload
    attach_ns: int


def scheduler_life(
    declared: Sequence[SchedulerOp], duration_ns: int, own: Loader, replaced: Sequence[Loader], stop_ns: int
) -> SchedulerLife:
    """The hold of the duration, cut where something is done to the scheduler.

    ``own``: what the setup started; ``replaced``: what each ``replace`` starts, in order. A loader that fails is
    started once more.
    """
    moments: list[Moment] = []
    loaders, coming = [own] if declared else [], iter(replaced)
    for one in declared:
        ops: list[Op] = []
        if one.op == "replace":
            loaders.append(next(coming))
        if one.op != "attach":
            ops.append(StopScheduler(stop_ns))
        if one.op != "detach":
            ops.append(StartScheduler(len(loaders) - 1, loaders[-1].attach_ns))
        moments.append(Moment(one.at_ns, tuple(ops)))
    held = hold_with(tuple(moments), 0, duration_ns)
    loading_ns = sum(2 * op.timeout_ns for op in held if isinstance(op, StartScheduler))
    stops = sum(isinstance(op, StopScheduler) for op in held)
    attached = not declared or declared[-1].op != "detach"
    payloads = tuple(loader.payload for loader in loaders)
    return SchedulerLife(held, payloads, loading_ns + stops * stop_ns, attached, tuple(moments))


def hold_with(moments: Sequence[Moment], begin_ns: int, duration_ns: int) -> tuple[Op, ...]:
    """The hold from ``begin_ns`` of the workload's duration on, cut at each of these moments, which lie within it."""
    ops: list[Op] = []
    passed = begin_ns
    for moment in moments:
        if moment.at_ns > passed:
            ops.append(Hold(moment.at_ns - passed))
            passed = moment.at_ns
        ops.extend(moment.ops)
    return (*ops, Hold(begin_ns + duration_ns - passed))
