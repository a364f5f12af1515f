"""Our rule: a change is reported when chance does not explain it and it is large enough to matter.

In this order: known to be the same, or all values (two or more a side) equal: same. Rejected at alpha after the
adjustment for the whole family, and the estimated shift at least the floor: regressed or improved. The shift's
interval inside the floor: same. Else undecided. A metric without a direction is informational where it is not the
same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from ktstr.stats.inference.families import hierarchical
from ktstr.stats.inference.more import Need, more_runs
from ktstr.stats.inference.ranks import Shift, shifts
from ktstr.stats.inference.samples import Limits, Sample
from ktstr.stats.inference.verdicts import MetricVerdict, Settings, Side, Word, finite
from ktstr.stats.inference.welch import welch

IDENTICAL = "identical inputs or result streams"
EQUAL = "all values are equal"
SINGLE = "a single run on a side"


@dataclass(frozen=True)
class _Measured:
    """A sample, what was estimated of it (None without values on a side), and its place in the family.

    ``can_move``: some labelling of its values would have been a finding but for the test. Looking only at the pooled
    values, it says nothing of the labels, so what cannot move need not be paid for.
    """

    sample: Sample
    a: Side
    b: Side
    limits: Limits
    shift: Shift | None
    floor: float | None
    can_move: bool


def judge_by_ranks(samples: Sequence[Sample], settings: Settings) -> tuple[MetricVerdict, ...]:
    """A verdict for each sample, in their order. The samples are one family, their scenarios its groups."""
    measured = _measure(samples, settings)
    able = Counter(m.sample.scenario for m in measured if m.can_move)
    family = [i for i, m in enumerate(measured) if m.can_move and m.shift and m.shift.least_p <= settings.alpha > 0]
    p = np.array([s.p for i in family if (s := measured[i].shift)])
    q = hierarchical(p, [measured[i].sample.scenario for i in family])
    adjusted = dict(zip(family, q.tolist(), strict=True))
    return tuple(
        _verdict(m, adjusted.get(i), settings, settings.alpha / (len(able) * able[m.sample.scenario] or 1))
        for i, m in enumerate(measured)
    )


def _measure(samples: Sequence[Sample], settings: Settings) -> list[_Measured]:
    both = [i for i, s in enumerate(samples) if s.a.size and s.b.size]
    found_shifts = shifts([(samples[i].a, samples[i].b) for i in both], settings.confidence)
    estimated = {i: _with_both_tests(samples[i], shift) for i, shift in zip(both, found_shifts, strict=True)}
    found = []
    for i, sample in enumerate(samples):
        limits = sample.floors
        a, b = Side.around_median(sample.a), Side.around_median(sample.b)
        floor = None if a.center is None else limits.floor(a.center)
        can_move = not sample.identical and limits.direction != 0 and _exceeds_floor(a, b, limits)
        found.append(_Measured(sample, a, b, limits, estimated.get(i), floor, can_move))
    return found


def _with_both_tests(sample: Sample, shift: Shift) -> Shift:
    """``shift``, with Welch's p where the sides differ in size and that is the larger.

    With equal sizes the rank test bears one side being noisier; with unequal ones, and the smaller side noisier, it
    does not (five runs against twenty, three times as noisy: ten times the level), and both tests have to reject.
    """
    if sample.a.size == sample.b.size or (test := welch(sample.a, sample.b)) is None:
        return shift
    return replace(shift, p=max(shift.p, test.p))


def _exceeds_floor(a: Side, b: Side, limits: Limits) -> bool:
    """Whether any two sides made of these values could be a floor apart."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    low, high = min(a.low, b.low), max(a.high, b.high)
    nearest_to_zero = min(abs(low), abs(high)) if (low > 0) == (high > 0) else 0.0
    return high > low and high - low >= limits.floor(nearest_to_zero)


def _verdict(m: _Measured, q: float | None, settings: Settings, level: float) -> MetricVerdict:
    a, b = m.a, m.b
    reason = _reason(m)
    word = Word.SAME if reason in (IDENTICAL, EQUAL) else _word(m, q, settings)
    more = None
    if word is Word.UNDECIDED and m.shift and m.floor is not None:
        more = more_runs(Need(a.n, b.n, m.shift, m.floor, level, settings.confidence))
    return MetricVerdict(
        scenario=m.sample.scenario,
        metric=m.sample.metric,
        word=word,
        n_a=a.n,
        n_b=b.n,
        center_a=a.center,
        center_b=b.center,
        low_a=a.low,
        high_a=a.high,
        low_b=b.low,
        high_b=b.high,
        spread_a=finite(a.spread),
        spread_b=finite(b.spread),
        shift=finite(m.shift.estimate) if m.shift else None,
        ci_low=finite(m.shift.low) if m.shift else None,
        ci_high=finite(m.shift.high) if m.shift else None,
        floor=m.floor,
        p=m.shift.p if m.shift else None,
        q=q,
        more=more,
        declared=m.sample.declared is not None,
        high_spread=a.wider_than(settings.spread_pct) or b.wider_than(settings.spread_pct),
        reason=reason,
    )


def _reason(m: _Measured) -> str:
    """What is known without statistics; "" where they have to tell."""
    if m.sample.identical:
        return IDENTICAL
    if not m.a.n or not m.b.n:
        return f"not measured on side {' and '.join(name for name, side in (('A', m.a), ('B', m.b)) if not side.n)}"
    if min(m.a.n, m.b.n) < 2:
        return SINGLE
    return EQUAL if m.a.low == m.b.high and m.a.high == m.b.low else ""


def _word(m: _Measured, q: float | None, settings: Settings) -> Word:
    unknown = Word.UNDECIDED if m.limits.direction else Word.INFORMATIONAL
    if m.shift is None or m.floor is None:
        return unknown
    if q is not None and q <= settings.alpha and abs(m.shift.estimate) >= m.floor and m.shift.estimate != 0:
        return Word.REGRESSED if m.shift.estimate * m.limits.direction > 0 else Word.IMPROVED
    if _inside(m.shift, m.floor):
        return Word.SAME
    return unknown


def _inside(shift: Shift, floor: float) -> bool:
    """The interval strictly inside +-floor, or nothing but zero."""
    if isnan(shift.low):
        return False
    furthest = max(abs(shift.low), abs(shift.high))
    return furthest < floor or furthest == 0
