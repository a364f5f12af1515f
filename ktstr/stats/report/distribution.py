"""Metrics of many seeds side by side: one scenario, the schedulers and kernels that ran it, each seed a point."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias

from ktstr.record.metrics import METRICS, higher_is_worse, polarity_of
from ktstr.record.outcome import Outcome
from ktstr.stats.report.cells import CellGroup

CONFIDENCE = 0.95
NATIVE = "eevdf"  # what others are compared with, where it was run
Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Samples:
    """One side's runs of one metric. ``values`` is empty where only the summary is known."""

    values: tuple[float, ...]
    n: int
    median: float
    low: float
    high: float


def samples_of(values: Sequence[float]) -> Samples:
    """The summary of at least one finite value."""
    return Samples(tuple(values), len(values), statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Shift:
    """What a side is above its base, with the interval of ``CONFIDENCE``; None where so few runs give none."""

    estimate: float
    low: float | None
    high: float | None

    @property
    def apart(self) -> bool:
        """Whether the interval leaves no shift out."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Side:
    """One scheduler on one kernel. ``shift`` is None for the base itself and where there is no base."""

    label: str
    samples: Samples
    shift: Shift | None = None


@dataclass(frozen=True)
class MetricSpread:
    """One metric of all sides. ``verdict``: what a comparison concluded, empty where none was made."""

    metric: str
    unit: str
    better: Better | None
    sides: tuple[Side, ...]
    verdict: str = ""
    note: str = ""


@dataclass(frozen=True)
class Scenario:
    """The metrics of one test on one topology; ``sides`` are their labels, the base first."""

    name: str
    sides: tuple[str, ...]
    metrics: tuple[MetricSpread, ...]


def scenarios(groups: Sequence[CellGroup]) -> tuple[Scenario, ...]:
    """The scenarios that some side ran more than once: those with most sides first, then by name.

    Only cells that passed have numbers to compare.
    """
    ordered = sorted(groups, key=lambda g: (g.key.test, g.key.preset, g.key.accel))
    made = []
    for (test, preset, accel), members in groupby(ordered, key=lambda g: (g.key.test, g.key.preset, g.key.accel)):
        found = _scenario(f"{test}/{preset}/{accel}", tuple(members))
        if found is not None:
            made.append(found)
    return tuple(sorted(made, key=lambda scenario: -len(scenario.sides)))


def better_of(metric: str) -> Better | None:
    """Which direction of a metric is the better one; None where neither is."""
    worse = higher_is_worse(polarity_of(metric))
    return None if worse is None else "lower" if worse else "higher"


def unit_of(metric: str) -> str:
    """The unit a metric is shown in; empty for a plain number, and for what is not registered."""
    return METRICS[metric].display_unit if metric in METRICS else ""


def _scenario(name: str, groups: Sequence[CellGroup]) -> Scenario | None:
    several = len({group.key.kernel for group in groups}) > 1
    sides = {_label(group, several): _values(group) for group in sorted(groups, key=_base_first)}
    sides = {label: values for label, values in sides.items() if values}
    if not any(len(values) > 1 for side in sides.values() for values in side.values()):
        return None
    names = [name for name in _metrics(sides) if _varies(sides, name)]
    return Scenario(name, tuple(sides), tuple(_spread(name, sides) for name in names)) if names else None


def _base_first(group: CellGroup) -> tuple[bool, str, str]:
    return group.key.scheduler != NATIVE, group.key.scheduler, group.key.kernel


def _label(group: CellGroup, with_kernel: bool) -> str:
    return f"{group.key.scheduler} on {group.key.kernel}" if with_kernel else group.key.scheduler


def _values(group: CellGroup) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for cell in sorted(group.cells, key=lambda cell: cell.seed):
        if cell.verdict is Outcome.PASS:
            for name, value in cell.metrics.items():
                values.setdefault(name, []).append(value)
    return values


def _metrics(sides: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """What some side measured and people read: registered ones in the registry's order, then others by name."""
    found = {name for side in sides.values() for name in side}
    registered = [name for name, metric in METRICS.items() if name in found and metric.rendered]
    return registered + sorted(found - METRICS.keys())


def _varies(sides: Mapping[str, Mapping[str, Sequence[float]]], name: str) -> bool:
    return len({value for side in sides.values() for value in side.get(name, ())}) > 1


def _spread(name: str, sides: Mapping[str, Mapping[str, Sequence[float]]]) -> MetricSpread:
    measured = {label: side[name] for label, side in sides.items() if name in side}
    base = next(iter(measured.values()))
    shown = tuple(
        Side(label, samples_of(values), None if values is base else shift_of(base, values))
        for label, values in measured.items()
    )
    return MetricSpread(name, unit_of(name), better_of(name), shown)


def shift_of(base: Sequence[float], other: Sequence[float]) -> Shift:
    """The Hodges-Lehmann shift of ``other`` above ``base``, neither empty, with the interval of its exact test."""
    import numpy as np

    from ktstr.stats.inference.ranks import shifts

    (found,) = shifts([(np.asarray(base, dtype=float), np.asarray(other, dtype=float))], CONFIDENCE)
    low, high = (None if math.isnan(bound) else float(bound) for bound in (found.low, found.high))
    return Shift(float(found.estimate), low, high)
