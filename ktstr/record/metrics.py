"""The registry of metrics: ``METRICS``, by name, in the order in which metrics are listed.

Its rows are in ``record.metric_table``. A metric that nothing measures yet is there too, and absent from the data until
something does. Light to import: ktstr.yaml names metrics, so what only lists tasks loads this.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ktstr.record.metric import Metric as Metric
from ktstr.record.metric import Polarity as Polarity
from ktstr.record.metric import Rate
from ktstr.record.metric_table import ROWS

TAIL_RATIO_MIN_ITERATIONS = 100  # of a run; below it worst_wake_latency_tail_ratio is not measured

METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in ROWS})
RATES: Mapping[str, Rate] = MappingProxyType({row.name: row.kind for row in ROWS if isinstance(row.kind, Rate)})

# Parts of names of metrics that are not registered, as benchmarks print them. The first list is asked first.
WORSE_IF_HIGHER = (
    "latency", "delay", "_gap", "stall", "stuck", "_cv", "error", "fail", "drop", "spread", "_us", "_ms", "_ns",
    "migration_ratio", "imbalance", "_depth", "dsq",
)  # fmt: skip
BETTER_IF_HIGHER = (
    "iops", "throughput", "bandwidth", "iterations", "ops_per_sec", "locality", "_score", "goodput",
)  # fmt: skip


def polarity_of(name: str) -> Polarity:
    """A registered metric's polarity; of any other what its name suggests, ``Unknown`` when it suggests nothing."""
    if name in METRICS:
        return METRICS[name].polarity
    if any(part in name for part in WORSE_IF_HIGHER):
        return "LowerBetter"
    return "HigherBetter" if any(part in name for part in BETTER_IF_HIGHER) else "Unknown"


def higher_is_worse(polarity: Polarity) -> bool | None:
    """Whether an increase is a regression; None where no change is. ``Unknown`` is held to be worse when higher."""
    return None if polarity == "Informational" else polarity != "HigherBetter"
