"""Pools for tests of comparisons, from a few words about each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ktstr.stats.pool import Pool

DEFAULTS: dict[str, Any] = {
    "path": "r/t.ktstr.json", "run": "r", "test_name": "t", "topology": "1n1l1c1t", "preset": "tiny",
    "scheduler": "eevdf", "resolve_source": None, "project_commit": None, "measured_commit": None, "payload": None,
    "work_type": "SpinWait", "kernel_version": None, "kernel_label": None, "kernel_commit": None, "run_source": None,
    "accel": "kvm", "seed": 0, "emulator": None, "origin_kind": "cold", "ram_digest": None, "input_digest": None,
    "vcpus": 1, "cpu_budget": 1, "throughput_denomination": "wall", "verdict": "pass", "expected_failure": False,
    "timestamp": "2026-01-01T00:00:00Z", "run_id": "20260101T000000Z-1", "cleanup_duration_ms": None, "load_ns": None,
    "host_class": "h", "arch": "x86_64", "performance_mode": False, "sample_count": 0, "sysctls": "", "kargs": "",
    "host": None, "overcommitted": False,
}  # fmt: skip
_COUNTS = ("vcpus", "cpu_budget", "cleanup_duration_ms", "load_ns")


@dataclass(frozen=True)
class Row:
    """A run: its metrics by name, and the columns in which it is not ``DEFAULTS``."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


def row(metrics: Mapping[str, float] | None = None, /, **columns: Any) -> Row:
    """A run."""
    assert columns.keys() <= DEFAULTS.keys()
    return Row(metrics or {}, columns)


def pool(*rows: Row) -> Pool:
    """The frames that ``load_pool`` would make of such runs."""
    index = pd.RangeIndex(len(rows), name="row")
    columns = {name: [one.columns.get(name, default) for one in rows] for name, default in DEFAULTS.items()}
    budgets = zip(columns["accel"], columns["cpu_budget"], columns["vcpus"], strict=True)
    columns["overcommitted"] = [accel != "icount" and 0 < (own or 0) < (vcpus or 0) for accel, own, vcpus in budgets]
    runs = pd.DataFrame({name: _typed(name, values) for name, values in columns.items()}, index=index)
    long = [(at, name, float(value)) for at, one in enumerate(rows) for name, value in one.metrics.items()]
    metrics = pd.DataFrame(long, columns=["row", "metric", "value"]).astype(
        {"row": "int64", "metric": "str", "value": "float64"}
    )
    return Pool(runs, metrics, pd.DataFrame(), ())


def _typed(name: str, values: list[Any]) -> pd.Series:
    if name in _COUNTS:
        return pd.Series(values, dtype="Int64")
    if name == "seed":
        return pd.Series(values, dtype="uint64")
    if isinstance(DEFAULTS[name], (bool, int)):
        return pd.Series(values)
    return pd.Series(values, dtype="str")
