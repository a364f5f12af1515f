"""Cells that did not pass, for tests of what is kept of them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ktstr.record.failed import FailedCell, FailedReason

CELL = FailedCell(
    test="t", preset="p", kernel="default", label="default", scheduler="mine", accel="icount", seed=3, verdict="fail",
    reasons=(FailedReason("Stuck", "worker 0 stuck"),), asked={}, input_digest="a" * 64, inputs={"kernel": "0" * 16},
)  # fmt: skip


def failed_cell(**changes: Any) -> FailedCell:
    """A cell of counted instructions; ``changes`` are to its fields."""
    return replace(CELL, **changes)
