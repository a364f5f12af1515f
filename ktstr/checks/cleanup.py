"""Whether taking everything down kept to the time that a test allows for it, in the guest's time.

It begins with the first op that takes down what is left once the workload is over (the end of the last phase; in a
test of one step the last StopWorkers), and ends with the guest's last word.
"""

from __future__ import annotations

from collections.abc import Sequence

from ktstr.checks import machine
from ktstr.checks.breach import Run
from ktstr.checks.formulas import MS
from ktstr.checks.phases import Window
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import GuestRecord


def began_ns(guest: GuestRecord, found: Sequence[Window]) -> int | None:
    """When taking down began; None when it was not seen to."""
    if found:
        return max(window.end_ns for window in found)
    return max((s.at_ns for s in guest.stimuli if s.op == "StopWorkers"), default=None)


def judge_cleanup(guest: GuestRecord, found: Sequence[Window], budget_ns: int | None, run: Run) -> list[Detail]:
    """The reason, if it took longer; none without a budget."""
    if budget_ns is None:
        return []
    limit = budget_ns / MS
    begin_ns = began_ns(guest, found)
    if begin_ns is None or guest.end_ns is None:
        what = f"cleanup_budget of {limit:g} ms was set but not evaluated: the workload was not seen to end"
        return [Detail(Verdict.INCONCLUSIVE, "Cleanup", what, limit=limit)]
    took_ns = guest.end_ns - begin_ns
    if took_ns <= budget_ns:
        return []
    what = (
        f"taking everything down took {took_ns / MS:.3f} ms, from {begin_ns / MS:.3f} ms on"
        f"{_slowest(guest, begin_ns)} > limit {limit:g} ms (cleanup_budget, test)"
    )
    excuse = machine.explains_delay(run.machine, took_ns - budget_ns)
    verdict, message = (Verdict.FAIL, what) if excuse is None else (Verdict.INCONCLUSIVE, f"{what}; {excuse}")
    return [Detail(verdict, "Cleanup", message, value=took_ns / MS, limit=limit)]


def _slowest(guest: GuestRecord, begin_ns: int) -> str:
    """Which op took most of it."""
    steps = [s for s in guest.stimuli if s.at_ns >= begin_ns]
    ends = [*(s.at_ns for s in steps[1:]), guest.end_ns or begin_ns]
    took = [(end - step.at_ns, step) for step, end in zip(steps, ends, strict=True)]
    if not took:
        return ""
    ns, step = max(took, key=lambda pair: pair[0])
    return f", {ns / MS:.3f} ms of it in {step.op}{f' of {step.detail}' if step.detail else ''}"
