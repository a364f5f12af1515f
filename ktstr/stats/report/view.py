"""What the templates are handed: data with its drawings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from markupsafe import Markup

from ktstr.stats.report import charts
from ktstr.stats.report.distribution import Better, MetricSpread, Samples, Scenario, Shift, Side
from ktstr.stats.report.history import Series
from ktstr.stats.report.svg import Scale, element, padded
from ktstr.stats.report.text import counted, figure, signed
from ktstr.stats.report.timeline import Timeline

INTERVAL_WIDTH = 110.0
MAX_DOTS = 200


@dataclass(frozen=True)
class SpreadRow:
    """One side of one metric."""

    label: str
    samples: Samples
    strip: Markup
    interval: Markup | str
    shift: str
    apart: bool


@dataclass(frozen=True)
class SpreadView:
    """One metric; ``verdict`` is empty where nothing was concluded."""

    metric: str
    unit: str
    better: Better | None
    verdict: str
    note: str
    rows: tuple[SpreadRow, ...]


@dataclass(frozen=True)
class ScenarioView:
    """A scenario's metrics."""

    name: str
    sides: tuple[str, ...]
    metrics: tuple[SpreadView, ...]

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many metrics have each verdict, in their order."""
        return tuple(Counter(metric.verdict for metric in self.metrics if metric.verdict).items())


@dataclass(frozen=True)
class DrawnTimeline:
    """``keys``: cgroups with a sample of their workers' colour."""

    name: str
    timeline: Timeline
    chart: Markup
    keys: tuple[tuple[int, Markup], ...]
    gap_key: Markup

    @property
    def gap_ms(self) -> float:
        return max(row.gap.ms for row in self.timeline.workers)


@dataclass(frozen=True)
class DrawnSeries:
    series: Series
    chart: Markup


def scenario_view(scenario: Scenario) -> ScenarioView:
    """A scenario with its drawings; all sides of one metric share their scale."""
    return ScenarioView(scenario.name, scenario.sides, tuple(map(_spread_view, scenario.metrics)))


def _spread_view(spread: MetricSpread) -> SpreadView:
    bounds = [bound for side in spread.sides for bound in (side.samples.low, side.samples.high)]
    scale = padded(bounds, charts.DOT + 1, charts.STRIP_WIDTH - charts.DOT - 1)
    base = spread.sides[0].samples.median
    rows = tuple(_row(spread, side, scale, base) for side in spread.sides)
    return SpreadView(spread.metric, spread.unit, spread.better, spread.verdict, spread.note, rows)


def _row(spread: MetricSpread, side: Side, scale: Scale, base: float) -> SpreadRow:
    one = side.samples
    label = (
        f"{spread.metric}, {side.label}: {counted(one.n, 'run')}, centre {figure(one.median)} {spread.unit},"
        f" from {figure(one.low)} to {figure(one.high)}"
    )
    strip = charts.strip(replace(one, values=_thinned(one.values)), scale, label)
    if side.shift is None:
        return SpreadRow(side.label, one, strip, "", "", False)
    said = shift_text(side.shift, base, spread.unit)
    drawn = _interval(side.shift, f"{spread.metric}, {side.label}: shift {said}")
    return SpreadRow(side.label, one, strip, drawn, said, side.shift.apart)


def _thinned(values: tuple[float, ...]) -> tuple[float, ...]:
    """At most ``MAX_DOTS`` of them, evenly by rank, the extremes included."""
    if len(values) <= MAX_DOTS:
        return values
    ordered = sorted(values)
    return tuple(ordered[round(at * (len(ordered) - 1) / (MAX_DOTS - 1))] for at in range(MAX_DOTS))


def _interval(shift: Shift, label: str) -> Markup | str:
    if shift.low is None or shift.high is None:
        return ""
    reach = max(abs(shift.estimate), abs(shift.low), abs(shift.high)) or 1.0
    scale = Scale(-reach, reach, 4, INTERVAL_WIDTH - 4)
    return charts.interval(shift.estimate, shift.low, shift.high, scale, label)


def shift_text(shift: Shift, base: float, unit: str) -> str:
    """In percent of the base's median, or in the metric's own unit where that is 0: ``+4.1 % [+2.9, +5.6]``."""
    factor, suffix = (100 / abs(base), " %") if base else (1.0, f" {unit}" if unit else "")
    said = f"{signed(_three(shift.estimate * factor))}{suffix}"
    if shift.low is None or shift.high is None:
        return f"{said}, too few runs for an interval"
    return f"{said} [{signed(_three(shift.low * factor))}, {signed(_three(shift.high * factor))}]"


def _three(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def drawn_timeline(name: str, timeline: Timeline) -> DrawnTimeline:
    """A timeline with its drawing and the keys to its colours."""
    cgroups = sorted({row.cgroup for row in timeline.workers})
    keys = tuple((cgroup, _key(f"stay tone{at % charts.TONES}")) for at, cgroup in enumerate(cgroups))
    gap = element("rect", class_="gap worst", x=2, y=3, width=14, height=4)
    return DrawnTimeline(name, timeline, charts.timeline_chart(timeline, name), keys, _tiny(gap))


def _key(kind: str) -> Markup:
    return _tiny(element("path", class_=kind, d="M0 5H18"))


def _tiny(mark: Markup) -> Markup:
    return element("svg", mark, width=18, height=10, viewBox="0 0 18 10", aria_hidden="true")


def drawn_series(series: Series) -> DrawnSeries:
    """A series with its drawing."""
    first, last = series.points[0], series.points[-1]
    changed = ", ".join(series.points[at].commit for at in series.changes) or "none"
    label = (
        f"{series.metric} of {series.scenario} over {counted(len(series.points), 'commit')}:"
        f" {figure(first.median)} at {first.commit}, {figure(last.median)} at {last.commit};"
        f" changes of level: {changed}"
    )
    return DrawnSeries(series, charts.history_chart(series.points, series.changes, label))
