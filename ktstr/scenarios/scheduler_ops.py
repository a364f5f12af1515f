"""What becomes of a scheduler within a run: from declared moments to ops between the holds of the workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.config.model import SchedulerOp
from ktstr.scenarios.program import Hold, Op, Payload, StartScheduler, StopScheduler


@dataclass(frozen=True)
class SchedulerLife:
    """The ops of the workload's duration, with the payloads that they start and what they may take at most.

    ``attached``: whether the scheduler is attached when they are over.
    """

    ops: tuple[Op, ...]
    payloads: tuple[Payload, ...]
    longest_ns: int
    attached: bool


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
    ops: list[Op] = []
    loaders, coming = [own] if declared else [], iter(replaced)
    passed, attached = 0, True
    for one in declared:
        if one.at_ns > passed:
            ops.append(Hold(one.at_ns - passed))
            passed = one.at_ns
        if one.op == "replace":
            loaders.append(next(coming))
        if one.op != "attach":
            ops.append(StopScheduler(stop_ns))
        if one.op != "detach":
            ops.append(StartScheduler(len(loaders) - 1, loaders[-1].attach_ns))
        attached = one.op != "detach"
    ops.append(Hold(duration_ns - passed))
    loading_ns = sum(2 * op.timeout_ns for op in ops if isinstance(op, StartScheduler))
    stops = sum(isinstance(op, StopScheduler) for op in ops)
    payloads = tuple(loader.payload for loader in loaders)
    return SchedulerLife(tuple(ops), payloads, loading_ns + stops * stop_ns, attached)
