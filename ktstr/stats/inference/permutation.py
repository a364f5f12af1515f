"""The exact distribution of a rank sum when the labels of the two sides mean nothing.

Of N pooled values, k are drawn without order; every choice is equally likely (the permutation distribution of the
Wilcoxon-Mann-Whitney statistic). Choices are counted by rank sum, one group of tied values after the other:
a group of t values of mid-rank r gives i of them in C(t, i) ways and adds i * r. Ties need no correction, and
nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb, sqrt

import numpy as np
from scipy.special import ndtr, ndtri

from ktstr.stats.inference.samples import Values

EXACT_UP_TO = 80  # values of both sides; above, the normal approximation


@dataclass(frozen=True, eq=False)
class RankSums:
    """Of each rank sum ``first + i * step`` of one side: probability of at most it, and of at least it."""

    first: float
    step: float
    at_most: Values
    at_least: Values

    @property
    def least_p(self) -> float:
        """The smallest two-sided p any outcome can have."""
        return float(min(1.0, 2 * min(self.at_most[0], self.at_least[-1])))

    def p(self, rank_sum: float) -> float:
        """Two-sided p of an outcome: twice the smaller tail, at most 1."""
        i = round((rank_sum - self.first) / self.step)
        return float(min(1.0, 2 * min(self.at_most[i], self.at_least[i])))


@lru_cache(maxsize=4096)
def rank_sums(ties: tuple[int, ...], chosen: int) -> RankSums:
    """Rank sums of ``chosen`` values out of groups of ``ties`` equal ones, in ascending order; mid-ranks."""
    doubled = []  # of each group: twice its mid-rank
    before = 0
    for size in ties:
        doubled.append(2 * before + size + 1)
        before += size
    step = int(np.gcd.reduce(np.diff(doubled))) if len(doubled) > 1 else 1
    places = [(rank - doubled[0]) // step for rank in doubled]
    expanded = np.repeat(places, ties)
    largest = int(expanded[before - chosen :].sum())
    smallest = int(expanded[:chosen].sum())
    counts = np.zeros((chosen + 1, largest + 1))
    counts[0, 0] = 1.0
    reach = 0  # the largest sum so far
    for size, place in zip(ties, places, strict=True):
        before_group = counts[:, : reach + 1].copy()
        reach = min(largest, reach + size * place)
        for i in range(1, min(size, chosen) + 1):
            moved = i * place
            if moved > largest:
                break
            taken = before_group[: chosen + 1 - i, : largest + 1 - moved]
            counts[i:, moved : moved + taken.shape[1]] += comb(size, i) * taken
    ways = counts[chosen, smallest:] / comb(before, chosen)
    first = (chosen * doubled[0] + smallest * step) / 2
    return RankSums(first, step / 2, np.cumsum(ways), np.cumsum(ways[::-1])[::-1])


def p_of(ties: tuple[int, ...], chosen: int, rank_sum: float) -> float:
    """Two-sided p of one side's rank sum; exact up to EXACT_UP_TO values, then normal with ties and continuity."""
    total = sum(ties)
    if total <= EXACT_UP_TO:
        return rank_sums(ties, chosen).p(rank_sum)
    other = total - chosen
    tied = sum(t**3 - t for t in ties)
    variance = chosen * other / 12 * (total + 1 - tied / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    distance = max(0.0, abs(rank_sum - chosen * (total + 1) / 2) - 0.5)
    return float(min(1.0, 2 * ndtr(-distance / sqrt(variance))))


def least_p(ties: tuple[int, ...], chosen: int) -> float:
    """The smallest two-sided p that values with such ties can give, however they are labelled."""
    if sum(ties) <= EXACT_UP_TO:
        return rank_sums(ties, chosen).least_p
    return 1.0 if len(ties) == 1 else 0.0


@lru_cache(maxsize=4096)
def interval_rank(n_a: int, n_b: int, confidence: float) -> int:
    """The k of the shift's interval, from the k-th smallest to the k-th largest difference; 0: there is none.

    It covers the shift with probability 1 - 2 P(U <= k - 1), at least that with ties.
    """
    tail = (1 - confidence) / 2
    if n_a + n_b <= EXACT_UP_TO:
        return int(np.searchsorted(rank_sums((1,) * (n_a + n_b), n_b).at_most, tail * (1 + 1e-12), side="right"))
    mean, sd = n_a * n_b / 2, sqrt(n_a * n_b * (n_a + n_b + 1) / 12)
    return max(0, int(mean + ndtri(tail) * sd))


@lru_cache(maxsize=4096)
def least_runs(level: float) -> int:
    """Runs per side below which no outcome, however clear, has a p as small as ``level``: 2 / C(2n, n) <= level."""
    n = 1
    while 2 / comb(2 * n, n) > level:
        n += 1
    return n
