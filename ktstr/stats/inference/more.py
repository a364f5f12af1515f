"""About how many more runs an undecided metric needs.

The interval's half width h falls as 1 / sqrt(n). Of a shift beyond the floor, more runs are to show that it is not
zero, at the level it needs when nothing else moved; of one inside, that the whole interval is inside:

    n' = n (h / d)^2 ((z_level + z_power) / z_confidence)^2,    d = |shift|, or floor - |shift|

for a chance of POWER that they do, were the estimate the truth. n' is never less than the runs whose clearest
outcome has a p of that level (2 / C(2n, n)), nor than those that give an interval at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, isnan

from scipy.special import ndtri

from ktstr.stats.inference.permutation import interval_rank, least_runs
from ktstr.stats.inference.ranks import Shift

POWER = 0.8
MOST = 1000  # "more" says no larger number: by then the answer is another experiment


@dataclass(frozen=True)
class Need:
    """Of an undecided metric: its runs, what was estimated, its floor, and the p it would need alone."""

    n_a: int
    n_b: int
    shift: Shift
    floor: float
    level: float
    confidence: float


def more_runs(need: Need) -> int:
    """More runs for each side, at least 1, at most MOST."""
    n = 2 / (1 / need.n_a + 1 / need.n_b)
    least = max(_least_for(need.level), _least_with_interval(need.confidence)) - min(need.n_a, need.n_b)
    return max(1, min(MOST, max(least, ceil(_resolving(need, n) - n))))


def _resolving(need: Need, n: float) -> float:
    """n' of the formula, capped; n where the interval is still unknown."""
    shift = abs(need.shift.estimate)
    half = (need.shift.high - need.shift.low) / 2
    if isnan(half):
        return n
    moved = shift >= need.floor and shift > 0
    tail = need.level / 2 if moved else (1 - need.confidence) / 2
    distance = shift if moved else need.floor - shift
    z_level = -float(ndtri(tail)) if tail > 0 else inf
    if distance <= 0 or z_level == inf:
        return n + MOST
    factor = half / distance * (z_level + float(ndtri(POWER))) / float(ndtri((1 + need.confidence) / 2))
    return min(n + MOST, n * min(factor, MOST) ** 2)


def _least_for(level: float) -> int:
    return least_runs(level) if level > 0 else MOST


@lru_cache(maxsize=64)
def _least_with_interval(confidence: float) -> int:
    n = 1
    while not interval_rank(n, n, confidence):
        n += 1
    return n
