"""Which seeds are worst: those that fail, then by the metric that comes nearest to the limit of its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ktstr.checks.thresholds import Thresholds, note
from ktstr.record.exploration import Ranking
from ktstr.record.metrics import higher_is_worse, polarity_of
from ktstr.record.outcome import Outcome
from ktstr.stats.report.distribution import unit_of


@dataclass(frozen=True)
class Gauge:
    """The metric whose worst value a check has a limit for: the limit is ``scale`` of the metric's units."""

    metric: str
    scale: float = 1.0
    is_floor: bool = False


# The checks that judge, of all workers or samples, the same number that a metric has.
GAUGES: Mapping[str, Gauge] = {
    "max_gap_ms": Gauge("worst_gap_ms"),
    "max_spread_pct": Gauge("worst_spread"),
    "max_p99_wake_latency_ns": Gauge("worst_p99_wake_latency_us", 1e-3),
    "max_wake_latency_cv": Gauge("worst_wake_latency_cv"),
    "max_migration_ratio": Gauge("worst_migration_ratio"),
    "max_cross_node_migration_ratio": Gauge("worst_cross_node_migration_ratio"),
    "min_page_locality": Gauge("worst_page_locality", is_floor=True),
}
WITHOUT_LIMIT = ("worst_gap_ms", "worst_spread")  # ranked by where nothing measured has a limit

_SEVERITY: Mapping[str, int] = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1}


@dataclass(frozen=True)
class SeedRun:
    """What came of one seed: the verdict, and the finite values by metric, none where nothing was measured."""

    seed: int
    verdict: str
    reasons: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)


def rank_by(runs: Sequence[SeedRun], limits: Thresholds, metric: str | None, *, sched_ext: bool) -> Ranking | None:
    """What to rank by: ``metric`` if it is given and was measured, else what nears its limit most, else the longest
    gap. ``sched_ext``: whether a BPF scheduler runs, for which alone some limits are. None where none was measured.
    """
    measured = {name for run in runs for name in run.values}
    if metric is not None:
        return _plain(metric) if metric in measured else None
    gauged = [found for check in GAUGES if (found := _used(check, runs, limits, sched_ext=sched_ext)) is not None]
    if gauged:
        return max(gauged, key=lambda ranking: ranking.used_pct or 0)
    return next((_plain(name) for name in WITHOUT_LIMIT if name in measured), None)


def _plain(metric: str) -> Ranking:
    return Ranking(metric=metric, unit=unit_of(metric), check=None, limit=None, used_pct=None)


def _used(check: str, runs: Sequence[SeedRun], limits: Thresholds, *, sched_ext: bool) -> Ranking | None:
    """How near the worst seed comes to a check's limit; None for one that is not judged, or what was not measured."""
    gauge, limit = GAUGES[check], limits.limit(check)
    values = [run.values[gauge.metric] for run in runs if gauge.metric in run.values]
    if not values or not limit or (note(limits, check) and not sched_ext):
        return None
    own = limit * gauge.scale
    above, below = (own, min(values)) if gauge.is_floor else (max(values), own)
    if below <= 0:
        return None
    used = max(0.0, 100 * above / below)
    return Ranking(metric=gauge.metric, unit=unit_of(gauge.metric), check=check, limit=own, used_pct=used)


def worst_first(runs: Sequence[SeedRun], ranking: Ranking | None) -> list[SeedRun]:
    """The runs that came to anything: failing ones, then inconclusive ones, then by the metric, then by seed. What was
    not measured comes last."""
    metric = None if ranking is None else ranking.metric
    sign = -1 if metric is None or higher_is_worse(polarity_of(metric)) is not False else 1

    def place(run: SeedRun) -> tuple[int, bool, float, int]:
        value = None if metric is None else run.values.get(metric)
        return _SEVERITY.get(run.verdict, 2), value is None, sign * (value or 0.0), run.seed

    judged = [run for run in runs if run.verdict in (Outcome.PASS, *_SEVERITY)]
    return sorted(judged, key=place)
