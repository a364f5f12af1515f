"""The goals of a run, for machines that decide: one verdict and one number each, with its noise.

A goal is a ``perf_delta:`` limit of a test that ran, in one scenario (preset, kernel, scheduler, accel). Its value is
the median over the runs that passed, one for each seed. Its noise is half the width of the distribution-free
confidence interval of a median (order statistics, 95 %): from the k-th smallest to the k-th largest value, where k is
the largest with P(Binomial(n, 1/2) < k) <= 2.5 %. Below 6 runs there is no such interval, and the noise is null.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb

from ktstr.config.model import Better
from ktstr.record.metrics import METRICS
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.stats.perf.samples import CellRun, better

TAIL = 0.025
UNMEASURED = "unmeasured"
_WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.NOT_RUN, Outcome.SKIP, Outcome.PASS)


@dataclass(frozen=True)
class Goal:
    """One goal. ``goal``: ``test/metric``; ``scenario``: ``preset/kernel/scheduler/accel``.

    ``verdict``: the worst of the scenario's cells, ``unmeasured`` when all passed and none measured it. ``value`` and
    ``noise`` are in ``unit``. ``reward``: the value, negated where lower is better; None unless the verdict is pass.
    """

    goal: str
    scenario: str
    phase: int | None
    verdict: str
    value: float | None
    noise: float | None
    n: int
    unit: str
    better: Better | None
    reward: float | None


def goals(runs: Iterable[CellRun], gates: Iterable[PerfDeltaAssertion]) -> list[Goal]:
    """The goals of one test that declares ``gates``, by scenario in the order of its runs."""
    scenarios: dict[str, list[CellRun]] = {}
    for run in runs:
        scenarios.setdefault(f"{run.preset}/{run.kernel}/{run.scheduler}/{run.accel}", []).append(run)
    declared = tuple(gates)
    return [_goal(scenario, members, gate) for scenario, members in scenarios.items() for gate in declared]


def _goal(scenario: str, runs: Sequence[CellRun], gate: PerfDeltaAssertion) -> Goal:
    values = _values(runs, gate)
    verdict = next(str(word) for word in _WORST_FIRST if any(run.verdict == word for run in runs))
    if verdict == Outcome.PASS and not values:
        verdict = UNMEASURED
    value = statistics.median(values) if values else None
    direction = better(gate.metric, gate)
    reward = None
    if value is not None and verdict == Outcome.PASS:
        reward = value if direction == "higher" else -value
    return Goal(
        goal=f"{runs[0].test}/{gate.metric}",
        scenario=scenario,
        phase=gate.phase,
        verdict=verdict,
        value=value,
        noise=half_width(values),
        n=len(values),
        unit=METRICS[gate.metric].display_unit,
        better=direction,
        reward=reward,
    )


def _values(runs: Sequence[CellRun], gate: PerfDeltaAssertion) -> list[float]:
    """One value a run; of clones and boots of their own, and of classes of host in real time, those that are more, as
    they are no samples of one thing."""
    found = [((run.start, run.host), run.value(gate.metric, gate.phase)) for run in runs if run.counts]
    measured = [(kind, value) for kind, value in found if value is not None]
    if not measured:
        return []
    most = Counter(kind for kind, _ in measured).most_common(1)[0][0]
    return [value for kind, value in measured if kind == most]


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the median's confidence interval; None below 6 values."""
    k = _trimmed(len(values))
    if k == 0:
        return None
    ordered = sorted(values)
    return (ordered[-k] - ordered[k - 1]) / 2


def _trimmed(n: int) -> int:
    """The largest k with P(Binomial(n, 1/2) < k) <= TAIL; 0 for none."""
    k, below = 0, 0
    while k < n and (below + comb(n, k)) <= TAIL * 2**n:
        below += comb(n, k)
        k += 1
    return k
