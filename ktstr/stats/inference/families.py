"""Many metrics at once: p values adjusted so that the family, not each metric, has the false alarm rate.

Two floors (Benjamini and Bogomolov 2014): a scenario's p is Simes' of its metrics; Benjamini-Hochberg at alpha
selects R of m scenarios; inside each selected one, Benjamini-Hochberg at alpha R / m. However many percentiles of
one latency move together, their scenario votes once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktstr.stats.inference.samples import Values


def benjamini_hochberg(p: Values) -> Values:
    """Adjusted p values: the smallest alpha at which Benjamini-Hochberg (1995) rejects each."""
    order = np.argsort(p, kind="stable")
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


def simes(p: Values) -> float:
    """Simes' p of the hypothesis that none of them moved: min over i of n p_(i) / i."""
    return float(benjamini_hochberg(p).min())


def hierarchical(p: Values, groups: Sequence[str]) -> Values:
    """The smallest alpha at which the two-floor procedure rejects each of ``p``, whose scenarios are ``groups``.

    A metric of adjusted value x inside its scenario is rejected at alpha when, for some k, at least k scenarios are
    selected at alpha and x <= alpha k / m: so q = min over k of (m / k) max(s_(k), x), where s_(k) is the k-th
    smallest scenario's p.
    """
    if not p.size:
        return p.copy()
    labels, member = np.unique(np.asarray(groups), return_inverse=True)
    inside = np.empty_like(p)
    scenario_p = np.empty(labels.size)
    for i in range(labels.size):
        inside[member == i] = benjamini_hochberg(p[member == i])
        scenario_p[i] = inside[member == i].min()
    scenario_p.sort()
    k = np.arange(1, labels.size + 1)
    q = (labels.size / k) * np.maximum(scenario_p, inside[:, None])
    lowest: Values = np.minimum(1.0, q.min(axis=1))
    return lowest
