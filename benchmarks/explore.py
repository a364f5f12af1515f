"""Many seeds of one test explored under a published scheduler, against as many bare clones of its machine.

A bare clone is started and waited for; nothing looks at it or keeps what it did. CPU time is that of everything that a
run starts, and says more on a host that does other things too. KTSTR_BENCH_SEEDS: how many, 1000 unless set.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.project import front_end, project, python
from benchmarks.table import Row

BUDGET = 1.2
CRATE = "scx_bpfland@1.0.17"
DECLARED = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers: {{scx_bpfland: {{crate: {CRATE}}}}}
tests:
  steady:
    duration: 1s
    cgroups: [{{name: a, workers: 4}}, {{name: b, workers: 4}}]
    checks: {{max_spread_pct: 100}}
"""
CELLS = ("steady", "tiny-2llc", "scx_bpfland")


def rows() -> list[Row]:
    """The crate is built and the machine made first, outside of any time."""
    seeds = int(os.environ.get("KTSTR_BENCH_SEEDS", "1000"))
    chosen = [f"{name}={value}" for name, value in zip(("test", "preset", "scheduler"), CELLS, strict=True)]
    with project(DECLARED) as folder:
        front_end(folder, "test", *chosen, "accel=icount", "seed=0")
        bare = _cost(lambda: python(folder, ("-m", "benchmarks.bare_clones", *CELLS, f"1..{seeds}")))
        explored = _cost(lambda: _explore(folder, *chosen, f"seeds=1..{seeds}"))
        again = _cost(lambda: _explore(folder, *chosen, f"seeds=1..{seeds}"))
    what = f"{seeds} seeds of 1 s under {CRATE}"
    return [
        Row(f"{what}, CPU, against bare clones", explored.cpu_s, "s", bare.cpu_s, BUDGET),
        Row(f"{what}, wall, against bare clones", explored.wall_s, "s", bare.wall_s, BUDGET),
        Row("the same again, with nothing to run", again.wall_s, "s"),
    ]


def _explore(folder: Path, *chosen: str) -> None:
    try:
        front_end(folder, "explore", "offline=1", "minimise=0", *chosen)
    except RuntimeError as err:
        if ": exit 1: " not in str(err):  # what the verdicts are is no matter here
            raise


@dataclass(frozen=True)
class _Cost:
    cpu_s: float
    wall_s: float


def _cost(run: Callable[[], object]) -> _Cost:
    """What a run takes, all the processes that it waits for included."""
    before, began = _cpu_s(), time.monotonic()
    run()
    return _Cost(_cpu_s() - before, time.monotonic() - began)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
