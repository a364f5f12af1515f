"""Loading the graph and finding that none of 2,000 cells has to run, against plain doit.

The cells are real ones: each has the record of a guest that was booted for it, or a copy of that of
its sibling; plain doit's tasks do nothing and are up to date.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.table import Row, best
from ktstr.results.record import CellRecord
from ktstr.results.store import RECORD, dump_record, load_record

CELLS = 2000
SEEDS = 100
PRESETS = ("1n1l1c1t", "1n1l2c1t", "1n2l1c1t", "1n1l2c2t")
TESTS = CELLS // SEEDS // len(PRESETS)
PLAIN = f"""
def task_trivial():
    for i in range({CELLS}):
        yield {{"name": str(i), "actions": None, "uptodate": [True]}}
"""


def declaration() -> str:
    """A ktstr.yaml of 2,000 cells: five tests, four topologies, a hundred seeds."""
    lines = ['kernels: {default: "deb:forky/cloud-amd64"}', "presets:"]
    lines += [f"  p{i}: {label}" for i, label in enumerate(PRESETS)]
    lines += ["tests:"]
    lines += [f"  t{i}: {{duration: {100 + i}ms, cgroups: [{{name: all, workers: 8}}], checks: {{not_starved: false}}}}" for i in range(TESTS)]
    lines += ["matrices:", f'  all: {{tests: "*", presets: "p[0-9]", seeds: 1..{SEEDS}}}']
    return "\n".join(lines) + "\n"


def front_end(folder: Path, *arguments: str) -> str:
    """One run of the front end, its standard output. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "ktstr.tasks.main", *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def fill(folder: Path, digests: Sequence[str]) -> None:
    """Give every cell the record of one that was booted, as its own."""
    store = folder / "target" / "ktstr" / ".cells"
    found = next(store.glob(f"*/{RECORD}"))
    measured = load_record(found)
    for digest in digests:
        path = store / digest / RECORD
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dump_record(_as(measured, digest)))


def _as(record: CellRecord, digest: str) -> CellRecord:
    from dataclasses import replace

    return replace(record, input_digest=digest)
