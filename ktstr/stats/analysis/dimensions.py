"""How each value of a dimension fared: verdicts counted, and what was measured on average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from ktstr.columns import printable

# In the order of the report: its heading, and the column of a pool.
DIMENSIONS = {
    "scenario": ("By scenario (worst first):", "test_name"),
    "topology": ("By topology:", "topology"),
    "work_type": ("By work_type:", "work_type"),
}


@dataclass(frozen=True)
class Group:
    """All rows of one value. Averages are over the rows that have the metric, None when none has; ``stuck`` is a sum.

    ``spread``: percent; ``gap``: ms; ``imbalance``: a ratio; ``dsq``: tasks; ``fallback``: events.
    """

    name: str
    total: int
    passed: int
    skipped: int
    inconclusive: int
    failed: int
    spread: float | None
    gap: float | None
    imbalance: float | None
    dsq: float | None
    stuck: float | None
    fallback: float | None


def summarize(runs: pd.DataFrame, wide: pd.DataFrame, column: str) -> tuple[Group, ...]:
    """A group for each value of a column, widest spread first, equal ones by name, those without a spread last."""
    groups = [_group(str(name), rows["verdict"], wide.loc[rows.index]) for name, rows in runs.groupby(column)]
    return tuple(sorted(groups, key=lambda g: (g.spread is None, -(g.spread or 0.0), g.name)))


def _group(name: str, verdicts: pd.Series[str], wide: pd.DataFrame) -> Group:
    def measured(metric: str) -> pd.Series[float] | None:
        values = wide[metric].dropna() if metric in wide else None
        return None if values is None or values.empty else values

    def mean(metric: str) -> float | None:
        values = measured(metric)
        return None if values is None else float(values.mean())

    stuck = measured("stuck_count")
    counts = {verdict: int((verdicts == verdict).sum()) for verdict in ("pass", "skip", "inconclusive")}
    return Group(
        name=name,
        total=len(verdicts),
        passed=counts["pass"],
        skipped=counts["skip"],
        inconclusive=counts["inconclusive"],
        failed=len(verdicts) - sum(counts.values()),
        spread=mean("worst_spread"),
        gap=mean("worst_gap_ms"),
        imbalance=mean("max_imbalance_ratio"),
        dsq=mean("max_dsq_depth"),
        stuck=None if stuck is None else float(stuck.sum()),
        fallback=mean("total_fallback"),
    )


def to_text(heading: str, groups: Sequence[Group]) -> str:
    """The heading and a line for each group."""
    return "\n".join(["", heading, *map(_line, groups), ""])


def _line(g: Group) -> str:
    counts = f"({g.skipped} skipped, {g.inconclusive} inconclusive, {g.failed} failed)"
    spread = "-" if g.spread is None else f"{g.spread:.1f}%"
    gap = "-" if g.gap is None else f"{g.gap:.0f}ms"
    averages = f"avg_spread={spread}  avg_gap={gap}"
    return "  ".join([f"  {printable(g.name):<25} {g.passed}/{g.total} passed {counts}", averages, *_tokens(g)])


def _tokens(g: Group) -> Iterable[str]:
    """What is only worth saying when it is more than nothing: of imbalance, 1 is nothing."""
    if g.imbalance is not None and g.imbalance > 1.0:
        yield f"imbal={g.imbalance:.1f}"
    if g.dsq:
        yield f"dsq={g.dsq:.0f}"
    if g.stuck:
        yield f"stuck={g.stuck:.0f}"
    if g.fallback:
        yield f"fallback={g.fallback:.0f}"
