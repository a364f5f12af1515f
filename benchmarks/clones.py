"""Cells as clones of a parked machine, against the same cells that each boot, under counted instructions.

A time is that of a whole run of the front end, less nothing: planning, opening the machine and judging are in it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from benchmarks.project import front_end, project
from benchmarks.table import Row

CELL_BUDGET, MATRIX_BUDGET = 0.35, 0.3
CRATES = ("scx_bpfland@1.1.4", "scx_rusty@1.1.4", "scx_lavd@1.1.4")
SEEDS = 4
DECLARED = """
kernels: {default: "deb:forky/cloud-amd64"}
schedulers:
  scx_ktstr: {source: SOURCE}
CRATES
tests:
  steady: {duration: 1s, cgroups: [{name: a, workers: 4}, {name: b, workers: 4}], checks: {max_spread_pct: 100}}
  pipes: {duration: 1s, cgroups: [{name: a, work: PipeIo, workers: 4}], checks: {max_spread_pct: 100}}
"""


def rows() -> list[Row]:
    """A cell by scheduler, then a matrix of 40 cells on 4 machines. The crates are built first, outside of any time."""
    crates = "".join(f"  {crate.partition('@')[0]}: {{crate: {crate}}}\n" for crate in CRATES)
    source = Path(__file__).parent.parent / "schedulers" / "scx_ktstr"
    with project(DECLARED.replace("SOURCE", str(source)).replace("CRATES\n", crates)) as folder:
        front_end(folder, "image", "test=steady")
        names = ("eevdf", "scx_ktstr", *(crate.partition("@")[0] for crate in CRATES))
        return [*(_cell(folder, name) for name in names), *_matrix(folder)]


def _cell(folder: Path, scheduler: str) -> Row:
    chosen = ("test=steady", "preset=tiny-2llc", f"scheduler={scheduler}", "jobs=1")
    _seconds(folder, *chosen)  # makes the machine
    clones = _seconds(folder, *chosen, f"seeds=1..{SEEDS}") / SEEDS
    cold = _seconds(folder, *chosen, "seed=1", "no_clone=1")
    return Row(f"a cell of {scheduler}, 1 s on tiny-2llc, against its boot", clones, "s", cold, CELL_BUDGET)


def _matrix(folder: Path) -> list[Row]:
    chosen = ("test=*", "preset=tiny-2llc,smt-2llc", "scheduler=eevdf,scx_ktstr", "seeds=1..5")
    shared = [
        cell["machine"]
        for cell in json.loads(front_end(folder, "test", "dry_run=1", "rerun=1", "json=1", *chosen))["cells"]
    ]
    assert sorted(shared.count(machine) for machine in set(shared)) == [10] * 4
    cold = _seconds(folder, *chosen, "no_clone=1")
    clones = _seconds(folder, *chosen)
    return [
        Row("40 cells on 4 machines, against 40 boots", clones, "s", cold, MATRIX_BUDGET),
        Row("cells a minute of these 40", 40 * 60 / clones, ""),
    ]


def _seconds(folder: Path, *words: str) -> float:
    began = time.monotonic()
    try:
        front_end(folder, "test", "accel=icount", "offline=1", "rerun=1", *words)
    except RuntimeError as err:
        if ": exit 1: " not in str(err):  # what the verdicts are is no matter here
            raise
    return time.monotonic() - began
