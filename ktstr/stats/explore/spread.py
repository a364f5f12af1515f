"""How far each metric spreads over the seeds of one scenario. What a seed did not measure is not in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ktstr.checks.formulas import ranked
from ktstr.record.exploration import FailureRate, Spread
from ktstr.record.metrics import METRICS
from ktstr.stats.inference.proportion import proportion
from ktstr.stats.report.distribution import better_of, unit_of

CONFIDENCE = 0.95


def spreads(runs: Sequence[Mapping[str, float]]) -> tuple[Spread, ...]:
    """The spread of every metric that a run measured and people read: registered ones in the registry's order, then
    others by name. ``runs``: finite values by metric, a run each."""
    found: dict[str, list[float]] = {}
    for values in runs:
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    registered = [name for name, metric in METRICS.items() if name in found and metric.rendered]
    return tuple(spread(name, found[name]) for name in (*registered, *sorted(found.keys() - METRICS.keys())))


def spread(metric: str, values: Sequence[float]) -> Spread:
    """Of at least one finite value."""
    ordered = sorted(values)
    low, high, middle = ranked(ordered, 10), ranked(ordered, 90), statistics.median(ordered)
    return Spread(
        metric=metric,
        unit=unit_of(metric),
        better=better_of(metric),
        seeds=len(ordered),
        min=ordered[0],
        p1=ranked(ordered, 1),
        p10=low,
        median=middle,
        p90=high,
        p99=ranked(ordered, 99),
        max=ordered[-1],
        spread_pct=100 * (high - low) / abs(middle) if middle else None,
    )


def failure_rate(failed: int, judged: int) -> FailureRate | None:
    """None where nothing was judged."""
    if not judged:
        return None
    found = proportion(failed, judged, CONFIDENCE)
    return FailureRate(failed=failed, judged=judged, low=found.low, high=found.high, confidence=CONFIDENCE)
