"""Where a series of a metric over commits changed its level.

E-divisive (Matteson and James 2014; MongoDB and Apache Otava use it for the same purpose): of all places to cut a
segment, take the one with the largest energy distance between what is before it and what follows; keep it if few
permutations of the segment reach that distance anywhere; go on inside both parts. The permutations are those of a
generator with a fixed seed: one series always has the same change points.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ktstr.stats.inference.samples import Values

SEGMENT = 3  # values on either side of a cut, at least
PERMUTATIONS = 499
SEED = 12


@dataclass(frozen=True)
class ChangePoint:
    """From ``index`` on the series is at another level: medians of the segments before and after it, and its p."""

    index: int
    before: float
    after: float
    p: float


@dataclass(frozen=True)
class _Cut:
    index: int
    distance: float


def change_points(series: Values, alpha: float = 0.01) -> tuple[ChangePoint, ...]:
    """The change points of ``series``, one finite value per commit in their order; ascending.

    ``alpha``: chance that a segment without a change is cut (at least 1 / 500, the smallest p there is). Fewer than
    six values have no change points. Time goes with the square of the length, for each change point: about a second
    at 200 values, half a minute at 1,000.
    Raises ValueError for values that are not finite.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("a series: one dimension of finite values expected")
    random = np.random.default_rng(SEED)
    found: dict[int, float] = {}
    waiting = [(0, values.size)]
    while waiting:
        start, end = waiting.pop()
        segment = values[start:end]
        cut = _best_cut(segment)
        if cut is None or (p := _p_of(segment, cut, random, alpha)) > alpha:
            continue
        found[start + cut.index] = p
        waiting += [(start, start + cut.index), (start + cut.index, end)]
    places = sorted(found)
    parts = np.split(values, places)
    return tuple(
        ChangePoint(place, float(np.median(before)), float(np.median(after)), found[place])
        for place, (before, after) in zip(places, pairwise(parts), strict=True)
    )


def _p_of(segment: Values, cut: _Cut, random: np.random.Generator, alpha: float) -> float:
    """Share of the segment's permutations with a cut as good, itself counted; ends as soon as it is above alpha."""
    reached = 1
    for _ in range(PERMUTATIONS):
        other = _best_cut(random.permutation(segment))
        reached += other is not None and other.distance >= cut.distance * (1 - 1e-9)
        if reached > alpha * (PERMUTATIONS + 1):
            break
    return reached / (PERMUTATIONS + 1)


def _best_cut(segment: Values) -> _Cut | None:
    """The cut t of the largest energy distance between values 0..t and t..k, over all t and k.

    k < n finds a level that comes back: against all that follows, a short step would drown. None of a segment too
    short to cut, or of equal values.
    """
    n = segment.size
    if n < 2 * SEGMENT or segment.min() == segment.max():
        return None
    apart = np.zeros((n + 1, n + 1))
    apart[1:, 1:] = np.abs(segment[:, None] - segment[None, :])
    sums = apart.cumsum(axis=0).cumsum(axis=1)  # [i, j]: over the first i values and the first j
    inside = sums.diagonal()
    t, k = np.arange(SEGMENT, n - SEGMENT + 1)[:, None], np.arange(2 * SEGMENT, n + 1)[None, :]
    left, right = t, np.maximum(k - t, SEGMENT)
    to_t, to_k, crossing = inside[t], inside[k], sums[t, k]
    across = (crossing - to_t) / (left * right)
    mean_left = to_t / (left * (left - 1))
    mean_right = (to_k - 2 * crossing + to_t) / (right * (right - 1))
    distances = left * right / (left + right) * (2 * across - mean_left - mean_right)
    distances[k - t < SEGMENT] = -np.inf
    best = int(np.argmax(distances))
    return _Cut(SEGMENT + best // distances.shape[1], float(distances.flat[best]))
