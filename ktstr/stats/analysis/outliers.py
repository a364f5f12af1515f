"""Scenarios far above the others: whose mean of a metric is beyond the mean of all by two standard deviations."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ktstr.columns import printable

# In the order of the report: as it is shown, and the metric.
COLUMNS: Mapping[str, str] = {
    "spread": "worst_spread",
    "gap_ms": "worst_gap_ms",
    "migrations": "total_migrations",
    "migration_ratio": "worst_migration_ratio",
    "imbalance": "max_imbalance_ratio",
    "dsq_depth": "max_dsq_depth",
    "stuck": "stuck_count",
    "fallback": "total_fallback",
    "keep_last": "total_keep_last",
    "worst_p99_wake_latency_us": "worst_p99_wake_latency_us",
    "worst_wake_latency_cv": "worst_wake_latency_cv",
    "worst_mean_run_delay_us": "worst_mean_run_delay_us",
    "worst_run_delay_us": "worst_run_delay_us",
}
_DEVIATIONS = 2.0
_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"


@dataclass(frozen=True)
class Outlier:
    """A scenario that stands out in one metric: its own mean, that of all rows, and how many deviations are between.

    ``worst_on``: the topology of each of its rows beyond the threshold, in the order of rows, repeats kept.
    """

    scenario: str
    metric: str
    value: float
    mean: float
    sigma: float
    worst_on: tuple[str, ...]


def find_outliers(runs: pd.DataFrame, wide: pd.DataFrame) -> tuple[Outlier, ...]:
    """Of the rows that passed as they were meant to, the furthest first. A value that was not measured is left out."""
    clean = runs[(runs["verdict"] == "pass") & ~runs["expected_failure"]]
    found = [outlier for shown, metric in COLUMNS.items() for outlier in _of_column(shown, metric, clean, wide)]
    return tuple(sorted(found, key=lambda outlier: -outlier.sigma))


def _of_column(shown: str, metric: str, clean: pd.DataFrame, wide: pd.DataFrame) -> list[Outlier]:
    if metric not in wide:
        return []
    values = wide.loc[clean.index, metric].dropna()
    mean, std = float(values.mean()), float(values.std(ddof=1))
    if len(values) < 2 or std < sys.float_info.epsilon:
        return []
    threshold, found = mean + _DEVIATIONS * std, []
    for scenario, own in values.groupby(clean.loc[values.index, "test_name"], sort=False):
        value = float(own.mean())
        if value > threshold:
            worst = clean.loc[own.index[own > threshold], "topology"]
            found.append(Outlier(str(scenario), shown, value, mean, (value - mean) / std, tuple(worst)))
    return found


def to_text(found: Sequence[Outlier]) -> str:
    """A line for each outlier, and one below it for where it was worst."""
    if not found:
        return "No outliers detected.\n"
    text = "Outliers detected:\n"
    for o in found:
        text += (
            f"  {printable(o.scenario)}: {o.metric} {o.value:.1f} (overall avg {o.mean:.1f}, +{o.sigma:.1f}{_SIGMA})"
        )
        text += f"\n    worst on: {', '.join(o.worst_on)}\n" if o.worst_on else "\n"
    return text
