"""Every metric of every pair, judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ktstr.record.metrics import METRICS
from ktstr.stats.compare.gate import Change, Limits, direction, judge, relative_change
from ktstr.stats.compare.pairs import Folded, Matched, PairingKey
from ktstr.stats.compare.policy import Policy
from ktstr.stats.folds import rule_of

# What a comparison can judge, in the order of the registry.
COMPARED = tuple(name for name, row in METRICS.items() if row.rendered and row.gates_aggregate(False))


@dataclass(frozen=True)
class Finding:
    """A change that counts. ``relative``: of the baseline, None against a baseline of nothing; ``delta``: b - a."""

    key: PairingKey
    scenario: str
    topology: str
    work_type: str
    metric: str
    a: float
    b: float
    delta: float
    relative: float | None
    change: Change


@dataclass(frozen=True)
class CoverageDifference:
    """A metric that one side of a pair has and the other has not."""

    key: PairingKey
    metric: str
    side: str
    value: float


@dataclass(frozen=True)
class Judged:
    """``unregistered``: metrics that both sides of some pair have, and the registry has not."""

    findings: tuple[Finding, ...]
    unchanged: int
    coverage: tuple[CoverageDifference, ...]
    unregistered: tuple[str, ...]


def compare_metrics(matched: Matched, folded: Folded, policy: Policy) -> Judged:
    """Judge what both sides of a pair have, by the order of keys, then of the registry. What one side alone has is a
    difference of coverage; what neither has is nothing."""
    both = _joined(matched, folded)
    known = both[both["metric"].isin(COMPARED)]
    order = pd.Categorical(known["metric"], categories=list(COMPARED), ordered=True)
    known = known.assign(order=order.codes).sort_values(["key", "order"], kind="stable")
    paired = known["a"].notna() & known["b"].notna()
    pairs = known[paired]
    change = judge(pairs["a"].to_numpy(), pairs["b"].to_numpy(), _limits(pairs["order"].to_numpy(), policy))
    counts = change > Change.UNCHANGED
    rest = both.loc[~both["metric"].isin(list(METRICS)), ["metric", "a", "b"]].dropna()
    return Judged(
        _findings(pairs[counts], change[counts], matched),
        int((change == Change.UNCHANGED).sum()),
        _coverage(known[~paired], matched),
        tuple(sorted(rest["metric"].unique())),
    )


def _joined(matched: Matched, folded: Folded) -> pd.DataFrame:
    """A row for each metric of each pair: key, metric, and its values a and b, NaN where a side has none.

    Sums over unlike numbers of runs are compared by run.
    """
    wanted = list(matched.pairs)
    a, b = (side.metrics[side.metrics["key"].isin(wanted)] for side in (folded.a, folded.b))
    both = a.merge(b, on=["key", "metric"], how="outer", suffixes=("_a", "_b"))
    summed = {name for name in both["metric"].unique() if rule_of(name) == "sum"}
    paired = both["runs_a"].notna() & both["runs_b"].notna()
    unlike = paired & both["metric"].isin(summed) & (both["runs_a"] != both["runs_b"])
    by_run = {side: both[f"value_{side}"].where(~unlike, both[f"value_{side}"] / both[f"runs_{side}"]) for side in "ab"}
    return pd.DataFrame({"key": both["key"], "metric": both["metric"], **by_run})


def _limits(order: np.ndarray, policy: Policy) -> Limits:
    rows = [METRICS[name] for name in COMPARED]
    return Limits(
        np.array([row.default_abs for row in rows], dtype=float)[order],
        np.array([policy.relative(row) for row in rows], dtype=float)[order],
        np.array([direction(row.name) for row in rows])[order],
    )


def _findings(pairs: pd.DataFrame, change: np.ndarray, matched: Matched) -> tuple[Finding, ...]:
    relative = relative_change(pairs["a"].to_numpy(), pairs["b"].to_numpy())
    columns = zip(pairs["key"], pairs["metric"], pairs["a"], pairs["b"], relative.tolist(), change, strict=True)
    return tuple(
        Finding(
            key=matched.pairs[key].key,
            scenario=matched.pairs[key].scenario,
            topology=matched.pairs[key].topology,
            work_type=matched.pairs[key].work_type,
            metric=metric,
            a=a,
            b=b,
            delta=b - a,
            relative=share if math.isfinite(share) else None,
            change=Change(kind),
        )
        for key, metric, a, b, share, kind in columns
    )


def _coverage(rows: pd.DataFrame, matched: Matched) -> tuple[CoverageDifference, ...]:
    columns = zip(rows["key"], rows["metric"], rows["a"], rows["b"], strict=True)
    return tuple(
        CoverageDifference(matched.pairs[key].key, metric, "b" if math.isnan(a) else "a", b if math.isnan(a) else a)
        for key, metric, a, b in columns
    )
