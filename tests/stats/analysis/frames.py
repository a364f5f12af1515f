"""Small pools for tests of the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Row:
    """One sidecar, as a pool has it."""

    test: str = "steady"
    topology: str = "1n1l1c1t"
    verdict: str = "pass"
    work_type: str = "SpinWait"
    expected_failure: bool = False


def runs_of(*rows: Row) -> pd.DataFrame:
    """The rows, with the columns that the analysis reads."""
    columns = {
        "test_name": [row.test for row in rows],
        "topology": [row.topology for row in rows],
        "verdict": [row.verdict for row in rows],
        "work_type": [row.work_type for row in rows],
        "expected_failure": [row.expected_failure for row in rows],
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows), name="row"))


def wide_of(rows: int, **metrics: Sequence[float | None]) -> pd.DataFrame:
    """A column for each metric; None where a row did not measure it."""
    columns = {name: np.array(values, dtype="float64") for name, values in metrics.items()}
    return pd.DataFrame(columns, index=pd.RangeIndex(rows, name="row"))
