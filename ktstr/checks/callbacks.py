"""How long a scheduler's callbacks take: the kernel's own count of each program's calls and of their time.

It counts while kernel.bpf_stats_enabled is on (struct bpf_prog_stats), a program's time with all that interrupts it;
what is called seldom, such as init, does its work once and is not judged.
"""

from __future__ import annotations

from ktstr.checks import quote
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict
from ktstr.checks.verifier.programs import prog_stats
from ktstr.record.cell import CellRecord

_LEAST_CALLS = 100
_US = 1000
NAME = "max_callback_us"


def judge(record: CellRecord, limits: Thresholds) -> list[Detail]:
    """The callback whose calls took longest on average, if too long; if somebody asked, why nothing is known."""
    limit = limits.limit(NAME)
    if limit is None:
        return []
    called = [one for one in prog_stats(record.inspected) if one.cnt >= _LEAST_CALLS]
    if not called:
        if not limits.is_asked_for(NAME):
            return []
        what = f"{NAME} was set but not evaluated: no callback was called {_LEAST_CALLS} times and counted"
        return [Detail(Verdict.INCONCLUSIVE, "Callback", what, limit=limit)]
    slowest = max(called, key=lambda one: one.nsecs_per_call)
    mean = slowest.nsecs_per_call / _US
    if mean <= limit:
        return []
    name = quote.clean(slowest.name)
    took = f"callback {name}: {slowest.cnt} calls took {mean:.0f} us each on average"
    what = f"{took}, limit {limit:g} us ({limits.named(NAME)})"
    return [Detail(Verdict.FAIL, "Callback", what, value=mean, limit=limit)]
