"""What is known of one metric: how it folds over samples, phases and runs, and when a change of it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Polarity: TypeAlias = Literal["LowerBetter", "HigherBetter", "Unknown", "Informational"]

GaugeFold: TypeAlias = Literal["Avg", "Last", "Max"]
Source: TypeAlias = Literal["WakeLatencyNs", "RunDelayNs", "TimerLatencyNs"]
Reduction: TypeAlias = Literal["P99", "P999", "Median", "Cv", "Mean", "Worst"]
Numerator: TypeAlias = Literal["Iterations", "NumaLocal"]
Denominator: TypeAlias = Literal["NumWorkers", "CpuTimeNs", "NumaTotal"]

PlainKind: TypeAlias = Literal[
    "Counter",  # growth of a monotonic count: summed over phases and runs
    "DeltaSum",  # sum of samples that are differences already
    "PerPhaseDeltaSum",  # summed over phases, averaged over runs
    "Peak",  # the largest, never averaged
    "Timestamp",  # the latest
    "WakeLatencyTailRatio",  # the largest p99 / median of a cgroup
    "WorstCrossNodeRatio",  # the largest of a cgroup
    "PerPhase",  # says nothing of a whole run
    "PerRunDistribution",  # a percentile of one run's histograms: never folded over runs
]


@dataclass(frozen=True)
class Gauge:
    """A level: the mean weighted by samples, the last, or the largest."""

    fold: GaugeFold


@dataclass(frozen=True)
class Rate:
    """A quotient of two counters, made anew from their folded values and never itself folded."""

    numerator: str
    denominator: str


@dataclass(frozen=True)
class Distribution:
    """A reduction of a run's pooled raw samples, in us (``Cv``: a ratio)."""

    source: Source
    reduction: Reduction


@dataclass(frozen=True)
class WorstLowest:
    """The lowest ratio of a cgroup; what was not measured is passed over, a measured 0 is not."""

    numerator: Numerator
    denominator: Denominator


Kind: TypeAlias = PlainKind | Gauge | Rate | Distribution | WorstLowest


@dataclass(frozen=True)
class Metric:
    """One row of the registry.

    ``default_abs``: the smallest change that counts, in the metric's own unit; ``default_rel``: the same as a fraction
    of the baseline; a change of one run's number must reach both. ``floor_rel`` and ``floor_abs``: the same where many
    runs tell a change from noise, so that smaller ones may count.
    ``derivation``: where the number comes from. ``rendered``: False for a component that others are made of, which is
    kept and never a finding.
    """

    name: str
    polarity: Polarity
    kind: Kind
    default_abs: float
    default_rel: float
    display_unit: str
    derivation: str
    rendered: bool = True
    floor_rel: float = 0.02
    own_floor: float | None = None

    @property
    def floor_abs(self) -> float:
        """A tenth of ``default_abs``, which allows for the noise of one run, unless the metric has one of its own."""
        return self.default_abs / 10 if self.own_floor is None else self.own_floor

    def gates_aggregate(self, noise: bool) -> bool:
        """Whether it can decide about whole runs. ``noise``: many runs a side are compared, each by its own value."""
        if self.kind == "PerRunDistribution":
            return noise
        return self.kind != "PerPhase"
