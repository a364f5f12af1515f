"""What each phase of a scenario measured, as means over the runs that passed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from ktstr.columns import printable
from ktstr.record.metrics import METRICS

# What a line of text has room for; JSON has all.
SHOWN = (
    "iteration_rate", "iterations_per_cpu_sec", "iterations_per_worker", "avg_off_cpu_pct", "worst_gap_ms",
    "mean_run_delay_us", "p99_wake_latency_us", "migration_ratio", "avg_imbalance_ratio", "avg_dsq_depth",
)  # fmt: skip


@dataclass(frozen=True)
class PhaseSummary:
    """One cgroup in one phase of a scenario, or the whole phase when ``cgroup`` is empty.

    ``runs``: how many measured it; ``duration_ms``: its mean length, of guest time; ``metrics``: the mean of each.
    """

    scenario: str
    step_index: int
    label: str
    cgroup: str
    runs: int
    duration_ms: float
    metrics: dict[str, float]


def summarize_phases(runs: pd.DataFrame, phases: pd.DataFrame) -> tuple[PhaseSummary, ...]:
    """By scenario, then phase, the whole phase before its cgroups."""
    clean = runs.index[(runs["verdict"] == "pass") & ~runs["expected_failure"]]
    lines = phases[phases["row"].isin(clean)]
    lines = lines.assign(scenario=runs["test_name"].reindex(lines["row"]).to_numpy())
    keys = ["scenario", "step_index", "label", "cgroup"]
    return tuple(_summary(own) for _, own in lines.groupby(keys))


def _summary(lines: pd.DataFrame) -> PhaseSummary:
    """Of the lines of one cgroup in one phase of one scenario."""
    windows = lines.drop_duplicates("row")
    first = lines.iloc[0]
    return PhaseSummary(
        scenario=str(first["scenario"]),
        step_index=int(first["step_index"]),
        label=str(first["label"]),
        cgroup=str(first["cgroup"]),
        runs=len(windows),
        duration_ms=float((windows["end_ms"] - windows["start_ms"]).mean()),
        metrics={str(name): float(value) for name, value in lines.groupby("metric")["value"].mean().items()},
    )


def to_text(found: Sequence[PhaseSummary]) -> str:
    """A line for each phase, and one below it for each cgroup; empty when there is no phase."""
    if not found:
        return ""
    return "\n=== PHASES ===\n\n" + "".join(f"{line}\n" for one in found for line in _lines(one))


def _lines(one: PhaseSummary) -> Iterator[str]:
    shown = "  ".join(
        f"{name}={_number(one.metrics[name])}{METRICS[name].display_unit}" for name in SHOWN if name in one.metrics
    )
    if one.cgroup:
        yield f"    {printable(one.cgroup):<23} {shown}".rstrip()
    else:
        window = f"{one.label} ({one.runs} run(s), {one.duration_ms:.0f}ms)"
        yield f"  {printable(one.scenario):<25} {window}  {shown}".rstrip()


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
