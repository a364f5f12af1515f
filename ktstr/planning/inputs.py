"""What a cell's result depends on, part by part: what tells a user which of them differs between two runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ktstr.planning.points import CellPlan, Point
from ktstr.vm.machine import Machine

DIGITS = 16


def inputs_of(cell: CellPlan, machine: Machine) -> dict[str, str]:
    """The digest of each part, in 16 hex digits, by the names of ``record.inputs``; a part that is not there has none.

    Together they say what ``input_digest`` says, and beside it what decides the verdict (``limits``).
    """
    point = cell.point
    parts = {
        "kernel": [point.kernel.identity],
        "scheduler": [point.image.scheduler or "", *(part.digest for part in point.image.others)],
        "settings": [point.setup.hex()],
        "scenario": [cell.program.hex()],
        "files": [part.digest for part in point.image.files],
        "agent": [point.image.agent],
        "emulator": [machine.accel, machine.digest],
        "machine": [*point.command, *(point.parking or ())],
        "limits": [_limits(point)],
    }
    return {name: _digest(part) for name, part in parts.items() if any(part)}


def _limits(point: Point) -> str:
    """All of the declarations that a record is judged by."""
    test, scheduler = point.test, point.scheduler
    checks = (sorted(scheduler.checks.items()), sorted(test.checks.items()), point.release)
    return repr((checks, test.temporal, test.captures, test.expect or scheduler.expect, test.cleanup_budget_ns))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]
