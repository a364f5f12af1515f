"""The dimensions that runs are told apart by, and the keys that pair the runs of one side with those of the other.

A key is the scenario and one component for each pairing dimension. Four more are never shown and never compared
across: the throughput's denomination, what ran the guest, the host (in real time alone: counted instructions are the
same on every host) and whether the guest was a clone. Where two presets of one topology are in the pool, the preset
is one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

DIRTY = "-dirty"


@dataclass(frozen=True)
class Dimension:
    """``name``: of its variables; ``column``: of the pool's ``runs``; ``commit``: a commit, ``-dirty`` or not."""

    name: str
    column: str
    commit: bool = False


DIMENSIONS = (
    Dimension("kernel", "kernel_version"),
    Dimension("scheduler", "scheduler"),
    Dimension("topology", "topology"),
    Dimension("work_type", "work_type"),
    Dimension("project_commit", "project_commit", commit=True),
    Dimension("kernel_commit", "kernel_commit", commit=True),
    Dimension("run_source", "run_source"),
    Dimension("resolve_source", "resolve_source"),
    Dimension("cpu_budget", "cpu_budget"),
)
SCENARIO = "scenario"
# Components that are not shown, with what they are called where they keep two runs apart.
PINS = {
    "denomination": "throughput denomination",
    "accel": "accel",
    "host": "host class",
    "snapshot": "snapshot kind",
    "preset": "preset",
}
REAL_TIME = ("kvm", "tcg")


def text(column: pd.Series) -> pd.Series:
    """A column as strings; what is absent stays absent. Numbers are decimal."""
    return column.astype("str")


@dataclass(frozen=True)
class Keys:
    """``frame``: a row for each distinct key, in the order first seen, side A first; its columns are the scenario,
    the pairing dimensions and ``PINS``. ``a`` and ``b``: the row in ``frame`` of each run of a side."""

    frame: pd.DataFrame
    shown: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray


def keys(a: pd.DataFrame, b: pd.DataFrame, pairing: Sequence[Dimension]) -> Keys:
    """The keys of the runs of two sides (rows of the pool's ``runs``)."""
    runs = pd.concat([a, b], ignore_index=True)
    side = np.repeat(np.array([0, 1]), [len(a), len(b)])
    parts = {SCENARIO: text(runs["test_name"]), "denomination": text(runs["throughput_denomination"])}
    parts |= {dim.name: _component(runs[dim.column], dim) for dim in pairing}
    parts["accel"] = text(runs["accel"])
    parts["host"] = text(runs["host_class"]).where(runs["accel"].isin(REAL_TIME), "")
    parts["snapshot"] = _snapshot(runs["origin_kind"])
    parts["preset"] = _preset(runs, side, any(dim.name == "topology" for dim in pairing))
    frame = pd.DataFrame(parts).fillna("")
    number = frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()
    first = ~pd.Series(number).duplicated().to_numpy()
    shown = (SCENARIO, *(dim.name for dim in pairing))
    return Keys(frame[first].reset_index(drop=True), shown, number[: len(a)], number[len(a) :])


def _component(column: pd.Series, dim: Dimension) -> pd.Series:
    values = text(column)
    return values.str.removesuffix(DIRTY) if dim.commit else values


def _snapshot(kind: pd.Series) -> pd.Series:
    """``cold``, ``clone``, or nothing where no guest ran."""
    values = text(kind)
    return values.where(values.isna() | (values == "cold"), "clone")


def _preset(runs: pd.DataFrame, side: np.ndarray, paired: bool) -> pd.Series:
    """The preset where one side has several of that topology, else nothing."""
    if not paired:
        return pd.Series("", index=runs.index, dtype="str")
    presets = text(runs["preset"]).fillna("")
    labels = text(runs["topology"])
    several = presets.groupby([side, labels.to_numpy()]).transform("nunique") > 1
    return presets.where(labels.isin(labels[several]), "")
