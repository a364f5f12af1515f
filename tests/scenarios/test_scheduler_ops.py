"""From declared moments to ops between holds."""

from __future__ import annotations

from ktstr.config.model import SchedulerOp
from ktstr.scenarios.program import Hold, Payload, StartScheduler, StopScheduler
from ktstr.scenarios.scheduler_ops import Loader, scheduler_life

OWN, OTHER = Loader(Payload(("/sched/bin/x",)), 7), Loader(Payload(("/sched/bin/x", "-o")), 9)
START, STOP = StartScheduler(0, 7), StopScheduler(5)


def test_nothing_declared_is_one_hold() -> None:
    life = scheduler_life((), 100, OWN, (), 5)
    assert (life.ops, life.payloads, life.longest_ns, life.attached) == ((Hold(100),), (), 0, True)


def test_the_hold_is_cut_at_each_moment() -> None:
    declared = (SchedulerOp(0, "detach"), SchedulerOp(30, "attach"), SchedulerOp(30, "restart"))
    life = scheduler_life(declared, 100, OWN, (), 5)
    assert life.ops == (STOP, Hold(30), START, STOP, START, Hold(70))
    # Two starts of 7, each of which may fail and be made once more; two stops of 5.
    assert (life.payloads, life.longest_ns, life.attached) == ((OWN.payload,), 38, True)


def test_a_replacement_is_what_is_attached_from_then_on() -> None:
    declared = (SchedulerOp(10, "replace", ("-o",)), SchedulerOp(20, "detach"), SchedulerOp(30, "attach"))
    life = scheduler_life((*declared, SchedulerOp(40, "detach")), 100, OWN, (OTHER,), 5)
    again = StartScheduler(1, 9)
    assert life.ops == (Hold(10), STOP, again, Hold(10), STOP, Hold(10), again, Hold(10), STOP, Hold(60))
    assert (life.payloads, life.attached) == ((OWN.payload, OTHER.payload), False)
    assert life.longest_ns == 2 * (9 + 9) + 3 * 5
