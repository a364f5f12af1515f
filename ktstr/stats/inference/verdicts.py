"""What a rule answers, for each metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

import numpy as np

from ktstr.stats.inference.samples import Values

EPS = 1e-9  # a mean below it is zero


class Word(StrEnum):
    """The verdict. ``noisy``: fewer than two runs on a side (Welch rule only)."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    UNDECIDED = "undecided"
    INFORMATIONAL = "informational"
    NOISY = "noisy"


class Rule(StrEnum):
    """``ranks``: exact tests, floors and a false alarm rate over the whole family. ``welch``: the older rule."""

    RANKS = "ranks"
    WELCH = "welch"


@dataclass(frozen=True)
class Settings:
    """``alpha``: false alarm rate of the whole family (0: nothing can be found). ``confidence``: of each shift's
    interval. ``spread_pct``: a side that is wider is marked ``high_spread``, which changes no verdict.
    """

    alpha: float = 0.05
    confidence: float = 0.95
    spread_pct: float = 5.0

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < 1 and 0 < self.confidence < 1 and self.spread_pct >= 0):
            raise ValueError(f"{self}: expected 0 <= alpha < 1, 0 < confidence < 1, spread_pct >= 0")


@dataclass(frozen=True)
class Side:
    """A side in numbers: count, centre, smallest and largest value, and their distance in percent of the centre.

    ``spread`` is 0 when all values are equal and infinite around a centre of zero. None: no values.
    """

    n: int
    center: float | None
    low: float | None
    high: float | None
    spread: float | None

    @classmethod
    def around(cls, values: Values, center: float) -> Side:
        """The side with ``values`` around ``center``, which is ignored without values."""
        if not values.size:
            return cls(0, None, None, None, None)
        low, high = float(values.min()), float(values.max())
        return cls(values.size, center, low, high, _spread(low, high, center))

    @classmethod
    def around_median(cls, values: Values) -> Side:
        """The side with ``values`` around their median."""
        if not values.size:
            return cls(0, None, None, None, None)
        ordered = np.sort(values)
        low, high = float(ordered[0]), float(ordered[-1])
        middle = float(ordered[(values.size - 1) // 2]), float(ordered[values.size // 2])
        center = middle[0] + (middle[1] - middle[0]) / 2
        return cls(values.size, center, low, high, _spread(low, high, center))

    def wider_than(self, percent: float) -> bool:
        """Strictly."""
        return self.spread is not None and self.spread > percent


def _spread(low: float, high: float, center: float) -> float:
    if low == high:
        return 0.0
    return inf if abs(center) < EPS else (high - low) / abs(center) * 100


@dataclass(frozen=True)
class MetricVerdict:
    """One metric of one scenario, judged. Numbers are None where unmeasured or undefined, and never infinite.

    ``center_*``: median of the values (``ranks``), mean or pooled mean (``welch``); ``low_*``, ``high_*`` the
    smallest and largest; ``spread_*`` their distance in percent of the centre. ``shift``: B against A in the
    metric's unit, with its confidence interval ``ci_low`` to ``ci_high``; ``floor``: what a change must reach to
    matter. ``p`` of the metric alone; ``q`` adjusted for all others (reject where it is <= alpha), None where the
    metric is not in the family. ``more``: about how many more runs each side needs, of an undecided one.
    ``declared``: the test's own gate was applied. ``reason`` says why in words, where the numbers do not.
    """

    scenario: str
    metric: str
    word: Word
    n_a: int
    n_b: int
    center_a: float | None
    center_b: float | None
    low_a: float | None
    high_a: float | None
    low_b: float | None
    high_b: float | None
    spread_a: float | None
    spread_b: float | None
    shift: float | None
    ci_low: float | None
    ci_high: float | None
    floor: float | None
    p: float | None
    q: float | None
    more: int | None
    declared: bool
    high_spread: bool
    reason: str = ""

    @property
    def shift_pct(self) -> float | None:
        """The shift in percent of side A's centre; None around zero."""
        if self.shift is None or self.center_a is None or abs(self.center_a) < EPS:
            return None
        return self.shift / abs(self.center_a) * 100


def decided(verdicts: Iterable[MetricVerdict]) -> bool:
    """Whether more runs would tell nothing: no verdict is undecided, nor noisy."""
    return all(v.word not in (Word.UNDECIDED, Word.NOISY) for v in verdicts)


def finite(value: float | None) -> float | None:
    """``value``, or None when it is not a finite number."""
    return value if value is not None and isfinite(value) else None
