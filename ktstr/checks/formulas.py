"""The numbers that checks and statistics are made of, as pure functions.

Times are nanoseconds. A quotient without a denominator is None, never 0. Standard deviations are
those of the population (over n). Percentiles are nearest rank: the smallest sample with at least
``percent`` of the population at or below it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from ktstr.record.guest import WorkerReport

NS = 1_000_000_000
MS = 1_000_000


def off_cpu_ns(report: WorkerReport) -> int:
    """Wall time without CPU time: queued, blocked or asleep; never below 0."""
    return max(0, report.wall_time_ns - report.cpu_time_ns)


def off_cpu_pct(report: WorkerReport) -> float | None:
    """Off-CPU share of wall time in percent; None without wall time."""
    return 100 * off_cpu_ns(report) / report.wall_time_ns if report.wall_time_ns else None


def work_rate(report: WorkerReport) -> float | None:
    """Work units per CPU second; None without CPU time."""
    return report.work_units * NS / report.cpu_time_ns if report.cpu_time_ns else None


def iteration_rate(report: WorkerReport, frozen_ns: int = 0) -> float | None:
    """Iterations per second of wall time, without what it was frozen of it; None without any."""
    wall_ns = report.wall_time_ns - frozen_ns
    return report.iterations * NS / wall_ns if wall_ns > 0 else None


def cv(values: Sequence[float], weights: Sequence[float] | None = None) -> float | None:
    """Coefficient of variation, stddev / mean; None for no values or a mean of 0."""
    if not values:
        return None
    if weights is None or min(weights) == max(weights):
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    else:
        total = math.fsum(weights)
        mean = math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total
        variance = math.fsum(w * (v - mean) ** 2 for v, w in zip(values, weights, strict=True)) / total
    return math.sqrt(variance) / mean if mean > 0 else None


@dataclass(frozen=True)
class Samples:
    """Samples of a population, sorted; ``weights``: how many observations each stands for."""

    values: tuple[int, ...]
    weights: tuple[float, ...]


def pooled_wakes(reports: Iterable[WorkerReport]) -> Samples:
    """All wake-latency samples of these workers."""
    return _pooled((r.wake_latencies_ns, r.wake_sample_total) for r in reports)


def pooled_requests(reports: Iterable[WorkerReport]) -> Samples:
    """All request-latency samples of these workers."""
    return _pooled((r.request_latencies_ns or (), r.request_sample_total or 0) for r in reports)


def _pooled(kept_of_total: Iterable[tuple[Sequence[int], int]]) -> Samples:
    """A worker's reservoir keeps some of its observations, each standing for total/kept."""
    pools = [(kept, max(total, len(kept)) / len(kept)) for kept, total in kept_of_total if kept]
    if len({weight for _, weight in pools}) == 1:  # the common case, without a pair per sample
        values = sorted(itertools.chain.from_iterable(kept for kept, _ in pools))
        return Samples(tuple(values), (pools[0][1],) * len(values))
    pairs = sorted((value, weight) for kept, weight in pools for value in kept)
    return Samples(tuple(v for v, _ in pairs), tuple(w for _, w in pairs))


P999 = Fraction(999, 10)


N = TypeVar("N", int, float)


def ranked(ordered: Sequence[N], percent: int | Fraction) -> N:
    """The percentile of ascending values, of which there is one at least: element ceil(n * percent / 100) - 1."""
    return ordered[max(0, math.ceil(Fraction(percent) * len(ordered) / 100) - 1)]


def nearest_rank(samples: Samples, percent: int | Fraction) -> int | None:
    """The percentile of a population, ``ranked`` where none weighs more than another; None for no samples."""
    values, weights = samples.values, samples.weights
    if not values:
        return None
    if min(weights) == max(weights):
        return ranked(values, percent)
    need = math.fsum(weights) * float(percent) / 100
    seen = 0.0
    for value, weight in zip(values, weights, strict=True):
        seen += weight
        if seen >= need * (1 - 1e-12):
            return value
    return values[-1]


def thin(samples: Samples, cap: int) -> tuple[int, ...]:
    """At most ``cap`` values of the same distribution: all of them, or evenly spaced quantiles."""
    if len(samples.values) <= cap:
        return samples.values
    step = math.fsum(samples.weights) / cap
    picked: list[int] = []
    seen = 0.0
    for value, weight in zip(samples.values, samples.weights, strict=True):
        seen += weight
        while len(picked) < cap and seen > step * (len(picked) + 0.5):
            picked.append(value)
    return tuple(picked)
