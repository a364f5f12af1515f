"""What there is to choose from: the values of each dimension in a pool."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from ktstr.columns import printable
from ktstr.stats.pool import Pool

# Name in the report to column of the pool's runs, in the order of the report.
DIMENSIONS: Mapping[str, str] = {
    "kernel": "kernel_version",
    "commit": "project_commit",
    "kernel_commit": "kernel_commit",
    "source": "run_source",
    "resolve_source": "resolve_source",
    "cpu_budget": "cpu_budget",
    "scheduler": "scheduler",
    "topology": "topology",
    "work_type": "work_type",
}
NOTHING_RAN = "(all runs skipped: no CPU budget)"

Value = str | int | None


def values_of(pool: Pool) -> dict[str, list[Value]]:
    """The distinct values of each dimension, sorted, null first. A CPU budget that is null is no value: nothing ran."""
    return {name: _distinct(pool.runs[column], keep_null=name != "cpu_budget") for name, column in DIMENSIONS.items()}


def _distinct(column: pd.Series, *, keep_null: bool) -> list[Value]:
    present = column.dropna()
    nulls: list[Value] = [None] if keep_null and len(present) < len(column) else []
    return nulls + sorted(int(v) if present.dtype == "Int64" else str(v) for v in present.unique())


def to_text(values: Mapping[str, list[Value]]) -> str:
    """A block for each dimension: its name, its values, an empty line."""
    empty = not values["scheduler"]
    lines: list[str] = []
    for name, found in values.items():
        lines += [f"{name}:", *(f"  {line}" for line in _lines(name, found, empty)), ""]
    return "\n".join(lines) + "\n"


def _lines(name: str, values: list[Value], empty: bool) -> list[str]:
    if values:
        return ["unknown" if value is None else printable(str(value)) for value in values]
    return ["(no sidecars in pool)" if empty or name != "cpu_budget" else NOTHING_RAN]


def to_json(values: Mapping[str, list[Value]]) -> str:
    """The values as one JSON object with sorted keys (``schemas/stats_list_values.schema.json``)."""
    return json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
