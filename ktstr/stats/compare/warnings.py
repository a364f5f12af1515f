"""What may make a comparison mean less than it seems to: sentences for standard error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ktstr.stats.compare.dims import DIRTY, REAL_TIME, Keys, text
from ktstr.stats.compare.sides import Contrast

_DIRTY_COLUMNS = {"kernel source": "kernel_commit", "project": "project_commit"}


def dirty_builds(a: pd.DataFrame, b: pd.DataFrame) -> str | None:
    """Of runs whose sources had uncommitted changes; ``a`` and ``b`` are runs of the sides."""
    lines: list[str] = []
    for what, column in _DIRTY_COLUMNS.items():
        values = pd.concat([text(a[column]), text(b[column])]).dropna().unique()
        dirty = sorted(value for value in values if value.endswith(DIRTY))
        lines += [f"  - {what}: {value} (working tree may have changed since this run)" for value in dirty]
    if not lines:
        return None
    return "\n".join(
        [
            "warning: comparison includes dirty builds:",
            *lines,
            "  a later run of the same commit and changes overwrites this one's sidecars, whatever they were;",
            "  commit the changes for a comparison that can be repeated",
        ]
    )


def overcommitted(a: pd.DataFrame, b: pd.DataFrame, keys: Keys, contrast: Contrast) -> str | None:
    """Of runs whose vCPUs had to share host CPUs, and of pairs that had unlike many. Under counted instructions the
    virtual clock is shared by design, and nothing is waited for."""
    sides = ((contrast.a, a, keys.a), (contrast.b, b, keys.b))
    short = any(runs["overcommitted"].any() for _, runs, _ in sides)
    budget_is_paired = any(dim.name == "cpu_budget" for dim in contrast.pairing)
    if not short and (budget_is_paired or not _mixes(pd.concat([a, b]), np.concatenate([keys.a, keys.b]))):
        return None
    head = (
        "warning: vCPUs shared host CPUs in some runs (cpu_budget below vcpus)"
        if short
        else "warning: runs that are paired had different numbers of host CPUs (cpu_budget)"
    )
    lines = [f"{head}: wall-clock throughput depends on it; look at worst_iterations_per_cpu_sec"]
    lines += [f"  {label}: {', '.join(_budgets(runs))}" for label, runs, _ in sides if _real(runs).any()]
    return "\n".join(lines)


def _real(runs: pd.DataFrame) -> pd.Series:
    return runs["accel"].isin(REAL_TIME) & runs["cpu_budget"].notna()


def _mixes(runs: pd.DataFrame, number: np.ndarray) -> bool:
    real = _real(runs).to_numpy()
    counted = runs["cpu_budget"][real].groupby(number[real]).nunique()
    return bool((counted > 1).any())


def _budgets(runs: pd.DataFrame) -> Iterator[str]:
    """``budget/vcpus`` of each kind of run, the smallest budget first."""
    kinds = runs.loc[_real(runs), ["cpu_budget", "vcpus"]].drop_duplicates().sort_values(["cpu_budget", "vcpus"])
    for budget, vcpus in kinds.itertuples(index=False):
        yield f"{budget}/{vcpus}" if pd.notna(vcpus) else str(budget)
