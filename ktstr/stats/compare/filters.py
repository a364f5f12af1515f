"""Which runs of the pool are on a side: any of the values of a variable, all of the variables.

A run whose field is null matches no value. ``kernel=6.12`` is a whole series; everything else is exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ktstr.stats.compare.dims import DIMENSIONS, text

_SERIES = re.compile(r"[0-9]+\.[0-9]+")
_SEARCHED = ("test_name", "topology", "scheduler", "work_type")


@dataclass(frozen=True)
class Filters:
    """The values of each dimension that one side takes; an empty tuple takes every run."""

    kernel: tuple[str, ...] = ()
    scheduler: tuple[str, ...] = ()
    topology: tuple[str, ...] = ()
    work_type: tuple[str, ...] = ()
    project_commit: tuple[str, ...] = ()
    kernel_commit: tuple[str, ...] = ()
    run_source: tuple[str, ...] = ()
    resolve_source: tuple[str, ...] = ()
    cpu_budget: tuple[str, ...] = ()

    def of(self, dimension: str) -> tuple[str, ...]:
        """The values of a dimension, by its name."""
        values: tuple[str, ...] = getattr(self, dimension)
        return values

    def over(self, shared: Filters) -> Filters:
        """These, and where there are none of a dimension, the shared ones: a side's own values replace them."""
        return replace(shared, **{dim.name: self.of(dim.name) for dim in DIMENSIONS if self.of(dim.name)})


def select(runs: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """The runs that match, in their order."""
    taken = np.ones(len(runs), dtype=bool)
    for dim in DIMENSIONS:
        if wanted := filters.of(dim.name):
            values = text(runs[dim.column])
            taken &= (_kernels(values, wanted) if dim.name == "kernel" else values.isin(wanted)).to_numpy()
    return runs[taken]


def _kernels(values: pd.Series, wanted: tuple[str, ...]) -> pd.Series:
    """``6.12`` is 6.12, 6.12.N and 6.12-rcN; ``6.14.2`` and any other text is itself alone."""
    series = tuple(f"{value}{mark}" for value in wanted if _SERIES.fullmatch(value) for mark in ".-")
    taken = values.isin(wanted)
    return taken | values.str.startswith(series).fillna(False).astype(bool) if series else taken


def contains(rows: pd.DataFrame, substring: str | None) -> np.ndarray:
    """Whether ``scenario topology scheduler work_type``, so joined, contains the text; None is in all."""
    if substring is None or rows.empty:
        return np.ones(len(rows), dtype=bool)
    columns = (text(rows[column]).fillna("") for column in _SEARCHED)
    joined = map(" ".join, zip(*columns, strict=True))
    return np.fromiter((substring in one for one in joined), dtype=bool, count=len(rows))
