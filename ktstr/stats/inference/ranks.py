"""The shift between two sides: its exact test, its estimate and its interval, for many metrics at once.

Mann-Whitney's test on mid-ranks with the exact permutation distribution (permutation.py), the Hodges-Lehmann
estimate (median of all differences b - a) and the interval that inverts the test (Lehmann 1963).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from ktstr.stats.inference.permutation import interval_rank, least_p, p_of
from ktstr.stats.inference.samples import Values

DIFFERENCES = 4_000_000  # held at once


@dataclass(frozen=True)
class Shift:
    """B against A. ``low`` and ``high`` are NaN where so few values give no interval of that confidence.

    ``least_p``: the smallest p these values could have given, had they been labelled otherwise.
    """

    p: float
    least_p: float
    estimate: float
    low: float
    high: float


def shifts(pairs: Sequence[tuple[Values, Values]], confidence: float) -> list[Shift]:
    """The shift of each pair (a, b) of samples, none of them empty, in their order."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, (a, b) in enumerate(pairs):
        alike[a.size, b.size].append(i)
    found: dict[int, Shift] = {}
    for (n_a, n_b), indexes in alike.items():
        rows = max(1, DIFFERENCES // (n_a * n_b))
        for start in range(0, len(indexes), rows):
            some = indexes[start : start + rows]
            a, b = np.stack([pairs[i][0] for i in some]), np.stack([pairs[i][1] for i in some])
            found.update(zip(some, _of_one_size(a, b, confidence), strict=True))
    return [found[i] for i in range(len(pairs))]


def _of_one_size(a: Values, b: Values, confidence: float) -> list[Shift]:
    """A Shift for each row of ``a`` (rows, n_a) and ``b`` (rows, n_b)."""
    n_a, n_b = a.shape[1], b.shape[1]
    with np.errstate(over="ignore"):
        differences = np.sort((b[:, :, None] - a[:, None, :]).reshape(len(a), -1), axis=1)
    estimates = np.median(differences, axis=1)
    if k := interval_rank(n_a, n_b, confidence):
        lows, highs = differences[:, k - 1], differences[:, -k]
    else:
        lows = highs = np.full(len(a), nan)
    pooled = np.concatenate([a, b], axis=1)
    order = np.argsort(pooled, axis=1, kind="stable")
    ordered = np.take_along_axis(pooled, order, axis=1)
    new = np.concatenate([np.ones((len(a), 1), dtype=bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    found = []
    for i in range(len(a)):
        starts = np.flatnonzero(new[i])
        sizes = np.diff(starts, append=n_a + n_b)
        ranks = np.repeat(starts + (sizes + 1) / 2, sizes)
        ties = tuple(sizes.tolist())
        p = p_of(ties, n_b, float(ranks[order[i] >= n_a].sum()))
        found.append(Shift(p, least_p(ties, n_b), float(estimates[i]), float(lows[i]), float(highs[i])))
    return found
