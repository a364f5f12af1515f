"""The older rule, ``rule=welch``: each metric for itself, by Welch's t-test or by bands that do not touch.

A change is reported when the sides are separated (Welch's p < 0.05, or all values of one side beyond all of the
other's) and it is material (at least the absolute and at least the relative gate). There is no control over many
metrics, and at small n the bands of two equal sides often part by chance: docs/statistics.md has both measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt

from scipy.special import stdtr

from ktstr.stats.inference.samples import Limits, Ratio, Sample, Values
from ktstr.stats.inference.verdicts import EPS, MetricVerdict, Settings, Side, Word, finite

ALPHA = 0.05  # fixed


@dataclass(frozen=True)
class Welch:
    """t, its degrees of freedom (Welch-Satterthwaite), and the two-sided p."""

    t: float
    dof: float
    p: float


def welch(a: Values, b: Values) -> Welch | None:
    """Welch's test of two samples; None where it has no meaning: fewer than two values a side, or no variance."""
    if a.size < 2 or b.size < 2:
        return None
    part_a, part_b = float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size
    squared = part_a + part_b
    if not (isfinite(squared) and squared > 0):
        return None
    # Parts as fractions of their sum: their squares neither overflow nor vanish.
    dof = 1 / ((part_a / squared) ** 2 / (a.size - 1) + (part_b / squared) ** 2 / (b.size - 1))
    t = (float(a.mean()) - float(b.mean())) / sqrt(squared)
    if not (isfinite(dof) and dof > 0 and isfinite(t)):
        return None
    return Welch(t, dof, 2 * float(stdtr(dof, -abs(t))))


def disjoint(a: Values, b: Values) -> bool:
    """Whether all values of one side lie strictly beyond all of the other's. Bands that touch are not disjoint."""
    return bool(a.max() < b.min() or b.max() < a.min())


def judge_by_welch(samples: Sequence[Sample], settings: Settings) -> tuple[MetricVerdict, ...]:
    """A verdict for each sample that can be compared, in their order.

    Left out: a metric without values on a side, a rate whose denominators add up to zero, and one whose both means
    are zero.
    """
    return tuple(v for v in (_judge(sample, settings) for sample in samples) if v is not None)


def _judge(sample: Sample, settings: Settings) -> MetricVerdict | None:
    if not sample.a.size or not sample.b.size:
        return None
    center_a, center_b = _center(sample.a, sample.ratio_a), _center(sample.b, sample.ratio_b)
    if center_a is None or center_b is None or (abs(center_a) < EPS and abs(center_b) < EPS):
        return None
    a, b = Side.around(sample.a, center_a), Side.around(sample.b, center_b)
    limits = sample.gates
    test = welch(sample.a, sample.b)
    if a.n < 2 or b.n < 2:
        word = Word.NOISY
    elif ((test is not None and test.p < ALPHA) or disjoint(sample.a, sample.b)) and material(
        center_a, center_b, limits
    ):
        word = _moved(center_b - center_a, limits)
    else:
        word = Word.SAME
    return MetricVerdict(
        scenario=sample.scenario,
        metric=sample.metric,
        word=word,
        n_a=a.n,
        n_b=b.n,
        center_a=center_a,
        center_b=center_b,
        low_a=a.low,
        high_a=a.high,
        low_b=b.low,
        high_b=b.high,
        spread_a=finite(a.spread),
        spread_b=finite(b.spread),
        shift=finite(center_b - center_a),
        ci_low=None,
        ci_high=None,
        floor=limits.floor(center_a) if abs(center_a) > EPS else limits.absolute,
        p=test.p if test else None,
        q=None,
        more=2 - min(a.n, b.n) if word is Word.NOISY else None,
        declared=sample.declared is not None,
        high_spread=a.wider_than(settings.spread_pct) or b.wider_than(settings.spread_pct),
    )


def _center(values: Values, ratio: Ratio | None) -> float | None:
    """The mean, or a rate's pooled mean; None of a rate that has no denominator."""
    if ratio is None:
        return float(values.mean())
    denominator = float(ratio.denominator.sum())
    return finite(float(ratio.numerator.sum()) / denominator) if denominator != 0 else None


def material(center_a: float, center_b: float, limits: Limits) -> bool:
    """Whether the change reaches both gates. From zero it is infinitely large: only the absolute gate decides."""
    delta = center_b - center_a
    relative = abs(delta / center_a) if abs(center_a) > EPS else inf
    return abs(delta) >= limits.absolute and relative >= limits.relative


def _moved(delta: float, limits: Limits) -> Word:
    if limits.direction == 0:
        return Word.INFORMATIONAL
    return Word.REGRESSED if delta * limits.direction > 0 else Word.IMPROVED
