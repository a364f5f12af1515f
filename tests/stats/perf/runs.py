"""Runs of cells with chosen numbers, for what reads them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ktstr.record.host import Host
from ktstr.record.machine import Origin
from ktstr.stats.perf.samples import CellRun
from tests.results.cells import sidecar

WHOLE = sidecar()


def run(seed: int, **changes: Any) -> CellRun:
    """A run; ``changes``: its fields, ``origin``, ``cpu`` of its host, and metrics by name, of the whole run and of its
    only phase."""
    verdict, origin, cpu = changes.pop("verdict", "pass"), changes.pop("origin", "attached"), changes.pop("cpu", "x")
    fields = {key: changes.pop(key) for key in ("test", "preset", "kernel", "scheduler", "accel") if key in changes}
    phases = tuple(replace(phase, metrics=dict(changes)) for phase in WHOLE.stats.phases)
    assert [phase.step_index for phase in phases] == [1]
    whole = replace(
        WHOLE,
        seed=seed,
        host=Host(cpu_model=cpu, online_cpus=2),
        origin=None if origin is None else Origin(kind=origin),
        stats=replace(WHOLE.stats, ext_metrics=dict(changes), phases=phases),
    )
    place = {"test": "pipe", "preset": "tiny", "kernel": "7.2", "scheduler": "mine", "accel": "icount", **fields}
    return CellRun(**place, seed=seed, verdict=verdict, sidecar=whole)
