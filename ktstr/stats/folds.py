"""Several runs in one value: how each kind of metric folds, as pure functions over arrays.

An array has a value for each run, in the runs' order, NaN where a run did not measure the metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ktstr.record.metric import Distribution, Gauge, Kind, Rate
from ktstr.record.metrics import METRICS, RATES
from ktstr.stats.frames import TYPED

Values: TypeAlias = NDArray[np.float64]
Rule: TypeAlias = Literal["sum", "mean", "rounded mean", "weighted mean", "last", "max"]

# Counts that are fields of a sidecar: their mean is a count again.
ROUNDED = ("total_migrations", "total_fallback", "total_keep_last", "total_iterations")

_PLAIN: Mapping[Kind, Rule | None] = {
    "Counter": "sum",
    "DeltaSum": "sum",
    "PerPhaseDeltaSum": "mean",
    "Peak": "max",
    "Timestamp": "last",
    "WakeLatencyTailRatio": "mean",
    "WorstCrossNodeRatio": "mean",
    "PerPhase": None,
    "PerRunDistribution": None,
}
_GAUGES: Mapping[str, Rule] = {"Avg": "weighted mean", "Last": "last", "Max": "max"}


def rule_of(name: str) -> Rule | None:
    """How values of several runs become one; None for a rate, which is made of its components, and for what says
    nothing of several runs. A metric that is not registered has a mean.
    """
    if name in TYPED and METRICS[name].kind != "Peak":
        return "rounded mean" if name in ROUNDED else "mean"
    kind = METRICS[name].kind if name in METRICS else "PerPhaseDeltaSum"
    if isinstance(kind, Rate):
        return None
    if isinstance(kind, Gauge):
        return _GAUGES[kind.fold]
    if isinstance(kind, Distribution):
        return "max" if kind.reduction == "Worst" else "mean"
    return _PLAIN.get(kind, "mean")


def fold(rule: Rule, values: Values, weights: Values) -> float | None:
    """The values of the runs that have one, folded; None when no run has, or the result is not finite.

    ``weights`` are for the weighted mean, which is a plain one when they add up to 0.
    """
    measured = np.isfinite(values)
    kept = values[measured]
    if not kept.size:
        return None
    folded = _folded(rule, kept, weights[measured])
    return folded if math.isfinite(folded) else None


def _folded(rule: Rule, kept: Values, weights: Values) -> float:
    if rule == "sum":
        return _total(kept)
    if rule == "max":
        return float(kept.max())
    if rule == "last":
        return float(kept[-1])
    if rule == "weighted mean" and weights.any():
        with np.errstate(over="ignore"):
            return _total(kept * weights) / _total(weights)
    mean = _total(kept) / kept.size
    return _half_away_from_zero(mean) if rule == "rounded mean" else mean


def _total(values: Values) -> float:
    """The sum, in no order; NaN when it is beyond all numbers."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


def _half_away_from_zero(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value) if math.isfinite(value) else value


def pooled_rate(numerators: Values, denominators: Values) -> float | None:
    """The sum by the sum, over the runs that have both; None where that is no finite number."""
    both = np.isfinite(numerators) & np.isfinite(denominators)
    below = _total(denominators[both])
    rate = _total(numerators[both]) / below if below else math.nan
    return rate if math.isfinite(rate) else None


def fold_runs(metrics: Mapping[str, Values], sample_counts: Values) -> dict[str, float]:
    """Every metric of several runs in one value; what has none is absent.

    ``sample_counts``: monitor samples by run, the weights of averages. Rates are made anew of their components.
    """
    folded = {
        name: fold(rule, values, sample_counts)
        for name, values in metrics.items()
        if (rule := rule_of(name)) is not None
    }
    for name, kind in RATES.items():
        if kind.numerator in metrics and kind.denominator in metrics:
            folded[name] = pooled_rate(metrics[kind.numerator], metrics[kind.denominator])
    return {name: value for name, value in folded.items() if value is not None}
