"""A comparison of two sides as a page. It knows no engine: whoever concluded something hands it over as these values.

``contrast`` makes them of what ``stats_compare`` finds, ``delta`` of what ``perf_delta`` wrote.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ktstr.stats.report.distribution import MetricSpread, Scenario
from ktstr.stats.report.page import page
from ktstr.stats.report.view import ScenarioView, SpreadView, scenario_view

# Worst first; the words are those of perf_delta, and ``unchanged`` where only a threshold was asked.
VERDICTS = ("regressed", "undecided", "noisy", "improved", "informational", "same", "unchanged")
MAX_CHANGES, MAX_SCENARIOS = 1000, 80
QUIET = frozenset({"same", "unchanged", ""})


@dataclass(frozen=True)
class LeftOut:
    """Something that was not compared, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Divergent:
    """The first event in which the two sides of one cell differ. ``at_ms``: guest time since the scenario's start."""

    cell: str
    at_ms: float
    a: str
    b: str


@dataclass(frozen=True)
class ComparisonReport:
    """``a`` and ``b`` are the sides' labels, A the baseline. Each of ``scenarios`` has two sides, A first, and each of
    its metrics a verdict of ``VERDICTS``, empty where none was reached. ``overall``: a sentence; ``why``: why it fails,
    a sentence each. ``hosts``: what differs between the sides' hosts, a line each; None where that is
    not known. ``common``: what all
    runs have in common. ``counts``: how often each verdict was reached, where not every metric counts; None where
    every one does. ``center``: what a side's runs are summed up by."""

    a: str
    b: str
    a_runs: int
    b_runs: int
    overall: str
    scenarios: tuple[Scenario, ...]
    common: tuple[str, ...] = ()
    counts: tuple[tuple[str, int], ...] | None = None
    why: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    hosts: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    divergences: tuple[Divergent, ...] = ()
    center: Literal["median", "mean"] = "median"


@dataclass(frozen=True)
class ChangeView:
    """A row of the table of changes. ``percent``: of A's median; None where that is 0."""

    scenario: str
    spread: SpreadView
    percent: float | None


@dataclass(frozen=True)
class ComparisonView:
    """All that ``comparison.html`` prints."""

    report: ComparisonReport
    counts: tuple[tuple[str, int], ...]
    changes: tuple[ChangeView, ...]
    changes_left_out: int
    scenarios: tuple[ScenarioView, ...]
    scenarios_left_out: int


def comparison_page(report: ComparisonReport) -> str:
    """The page of a comparison."""
    title = f"{report.b} against {report.a}: ktstr"
    return page("comparison.html", title=title, eyebrow="ktstr comparison", view=_view(report))


def _view(report: ComparisonReport) -> ComparisonView:
    metrics = (metric for scenario in report.scenarios for metric in scenario.metrics)
    counts = Counter(metric.verdict for metric in metrics) if report.counts is None else dict(report.counts)
    ordered = sorted(report.scenarios, key=_worst)
    shown = [_worst_first(scenario) for scenario in ordered[:MAX_SCENARIOS]]
    views = tuple(map(scenario_view, shown))
    changes = _changes(shown, views)
    return ComparisonView(
        report=report,
        counts=tuple((word, counts[word]) for word in VERDICTS if counts.get(word)),
        changes=changes[:MAX_CHANGES],
        changes_left_out=max(0, len(changes) - MAX_CHANGES),
        scenarios=views,
        scenarios_left_out=max(0, len(ordered) - MAX_SCENARIOS),
    )


def _rank(verdict: str) -> int:
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


def _worst(scenario: Scenario) -> tuple[int, int, str]:
    """The worst verdict, how many have it, and the name."""
    ranks = [_rank(metric.verdict) for metric in scenario.metrics]
    worst = min(ranks, default=len(VERDICTS))
    return worst, -ranks.count(worst), scenario.name


def _worst_first(scenario: Scenario) -> Scenario:
    return replace(scenario, metrics=tuple(sorted(scenario.metrics, key=lambda metric: _rank(metric.verdict))))


def _changes(scenarios: Sequence[Scenario], views: Sequence[ScenarioView]) -> tuple[ChangeView, ...]:
    """What changed or could not be decided: worst first, the largest relative change first."""
    rows = [
        ChangeView(scenario.name, shown, _percent(metric))
        for scenario, view in zip(scenarios, views, strict=True)
        for metric, shown in zip(scenario.metrics, view.metrics, strict=True)
        if metric.verdict not in QUIET
    ]
    return tuple(
        sorted(rows, key=lambda row: (_rank(row.spread.verdict), -_size(row), row.scenario, row.spread.metric))
    )


def _percent(metric: MetricSpread) -> float | None:
    if len(metric.sides) < 2:
        return None
    a, b = (side.samples.median for side in metric.sides[:2])
    return 100 * (b - a) / abs(a) if a else None


def _size(row: ChangeView) -> float:
    """How large a change is; one from nothing is the largest."""
    return math.inf if row.percent is None else abs(row.percent)
