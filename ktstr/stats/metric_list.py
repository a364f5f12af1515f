"""The registry of metrics as ``stats_list_metrics`` prints it."""

from __future__ import annotations

import json
from dataclasses import asdict

from ktstr.columns import table
from ktstr.record.metric import Kind, Metric, Polarity
from ktstr.record.metrics import METRICS

_WIDTH = 100  # names are copied, so they are not broken
_LABELS: dict[Polarity, str] = {
    "LowerBetter": "lower", "HigherBetter": "higher", "Unknown": "unknown", "Informational": "informational",
}  # fmt: skip


def to_text() -> str:
    """The table NAME, POLARITY, DEFAULT_ABS, DEFAULT_REL, UNIT."""
    rows = [
        (row.name, _LABELS[row.polarity], f"{row.default_abs:g}", f"{row.default_rel:g}", row.display_unit)
        for row in METRICS.values()
    ]
    header = ("NAME", "POLARITY", "DEFAULT_ABS", "DEFAULT_REL", "UNIT")
    return "\n".join(table(header, rows, right=frozenset({2, 3}), width=_WIDTH)) + "\n"


def entry(row: Metric) -> dict[str, object]:
    """One metric as JSON has it."""
    return {
        "name": row.name,
        "polarity": row.polarity,
        "kind": kind_entry(row.kind),
        "default_abs": float(row.default_abs),
        "default_rel": row.default_rel,
        "display_unit": row.display_unit,
    }


def kind_entry(kind: Kind) -> str | dict[str, object]:
    """A kind as JSON has it: its name, or an object from its name to its parameters."""
    if isinstance(kind, str):
        return kind
    parameters = asdict(kind)
    return {type(kind).__name__: parameters.get("fold", parameters)}


def to_json() -> str:
    """The metrics as a JSON array (``schemas/stats_list_metrics.schema.json``)."""
    return json.dumps([entry(row) for row in METRICS.values()], indent=2, ensure_ascii=False) + "\n"
