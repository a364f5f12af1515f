"""A metric over commits: one series for each scenario, oldest commit first, and where its level changed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ktstr.stats.report.charts import HistoryPoint
from ktstr.stats.report.distribution import unit_of

MIN_COMMITS = 3
MAX_SERIES = 24


@dataclass(frozen=True)
class Observation:
    """One value of one run. ``scenario``: what is the same in all commits; ``timestamp``: ISO 8601."""

    scenario: str
    metric: str
    commit: str
    timestamp: str
    value: float


@dataclass(frozen=True)
class Series:
    """``changes``: the places in ``points`` at which a new level begins."""

    scenario: str
    metric: str
    unit: str
    points: tuple[HistoryPoint, ...]
    changes: tuple[int, ...]


@dataclass(frozen=True)
class History:
    """The series worth showing, those that changed last first; ``left_out`` more are not."""

    series: tuple[Series, ...]
    left_out: int


ChangePoints = Callable[[Sequence[float]], Sequence[int]]


def history(observations: Sequence[Observation], order: Mapping[str, int], changes: ChangePoints) -> History:
    """Series of at least ``MIN_COMMITS`` commits whose medians are not all the same.

    ``order``: the place of a commit in the project's history, oldest first; commits that are not in it come by the
    time of their first measurement, before those that are. ``changes``: indexes at which a series changes its level.
    """
    found: dict[tuple[str, str], dict[str, list[Observation]]] = defaultdict(lambda: defaultdict(list))
    for one in observations:
        found[one.scenario, one.metric][one.commit].append(one)
    series = []
    for (scenario, metric), commits in sorted(found.items()):
        points = _points(commits, order)
        if len(points) >= MIN_COMMITS and len({point.median for point in points}) > 1:
            at = tuple(changes([point.median for point in points]))
            series.append(Series(scenario, metric, unit_of(metric), points, at))
    series.sort(key=lambda one: (not one.changes, -max(one.changes, default=0), one.scenario, one.metric))
    return History(tuple(series[:MAX_SERIES]), max(0, len(series) - MAX_SERIES))


def _points(commits: Mapping[str, Sequence[Observation]], order: Mapping[str, int]) -> tuple[HistoryPoint, ...]:
    first = {commit: min(one.timestamp for one in members) for commit, members in commits.items()}
    by_age = sorted(commits, key=lambda commit: (order.get(commit.removesuffix("-dirty"), -1), first[commit], commit))
    return tuple(_point(commit, [one.value for one in commits[commit]]) for commit in by_age)


def _point(commit: str, values: Sequence[float]) -> HistoryPoint:
    return HistoryPoint(commit, statistics.median(values), min(values), max(values), len(values))
