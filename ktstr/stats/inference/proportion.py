"""A proportion with its exact interval (Clopper and Pearson 1934): at least the stated confidence, however few.

For k of n: low is the p with P(X >= k) = alpha / 2, high that with P(X <= k) = alpha / 2, of a binomial X; as quantiles
of beta distributions, B(alpha / 2; k, n - k + 1) and B(1 - alpha / 2; k + 1, n - k).
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betaincinv


@dataclass(frozen=True)
class Proportion:
    """``hits`` of ``of``, and the interval that the true proportion lies in."""

    hits: int
    of: int
    low: float
    high: float


def proportion(hits: int, of: int, confidence: float = 0.95) -> Proportion:
    """Raises ValueError unless 0 <= hits <= of and there is at least one."""
    if not 0 <= hits <= of or of < 1:
        raise ValueError(f"{hits} of {of}, expected 0 to {of} of at least 1")
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, of - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - tail)) if hits < of else 1.0
    return Proportion(hits, of, low, high)
