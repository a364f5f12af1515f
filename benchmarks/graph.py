"""Loading the graph and finding that none of 2,000 cells has to run, against plain doit.

The cells have real results: a guest was booted for one of them, and the others have its record. Plain
doit's tasks do nothing and are up to date. Figures are CPU seconds of the whole process: of two, the
busier host would otherwise tell more.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from benchmarks.project import front_end, project, python
from benchmarks.table import Row, interleaved
from ktstr.results.store import RECORD, CellStore, dump_record, load_record

CELLS = 2000
SEEDS = 100
PRESETS = ("1n1l1c1t", "1n1l2c1t", "1n2l1c1t", "1n1l2c2t")
TESTS = CELLS // SEEDS // len(PRESETS)
BUDGET = 2.5
PLAIN = f"""
def task_trivial():
    for i in range({CELLS}):
        yield {{"name": str(i), "actions": None, "uptodate": [True]}}
"""
RUN_PLAIN = ("-c", "import sys; from doit.doit_cmd import DoitMain; sys.exit(DoitMain().run([]))")


def declaration() -> str:
    """A ktstr.yaml of 2,000 cells: five tests, four topologies, a hundred seeds."""
    lines = ['kernels: {default: "deb:forky/cloud-amd64"}', "presets:"]
    lines += [f"  p{i}: {label}" for i, label in enumerate(PRESETS)]
    lines += ["tests:"]
    lines += [
        f"  t{i}: {{duration: {100 + i}ms, cgroups: [{{name: all, workers: 8}}], checks: {{not_starved: false}}}}"
        for i in range(TESTS)
    ]
    lines += ["matrices:", f"  all: {{tests: ['*'], presets: {[f'p{i}' for i in range(4)]}, seeds: 1..{SEEDS}}}"]
    return "\n".join(lines) + "\n"


def digests(folder: Path) -> list[str]:
    """The input digest of every cell, as planned."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from ktstr.config.project import find_project\n"
        "from ktstr.host.tokens import TokenPool\n"
        "from ktstr.options import GraphOptions\n"
        "from ktstr.planning.plan import make_plan\n"
        "from ktstr.planning.request import Request\n"
        "from ktstr.progress import Progress\n"
        "project = find_project(Path.cwd(), os.environ)\n"
        "request = Request(project, os.environ, GraphOptions(), Progress(sys.stderr), TokenPool(1, 1))\n"
        "print('\\n'.join(cell.input_digest for cell in make_plan(request).cells))\n"
    )
    return python(folder, ("-c", script)).split()


def fill(folder: Path) -> None:
    """Boot one cell and give every other its record."""
    front_end(folder, "test", "test=t0", "preset=p3", "seed=1")
    store = folder / "target" / "ktstr" / ".cells"
    measured = load_record(next(store.glob(f"*/{RECORD}")))
    for digest in digests(folder):
        path = CellStore(store).folder(digest) / RECORD
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dump_record(replace(measured, input_digest=digest)))


def cpu_seconds(action: Callable[[], object]) -> float:
    """User and system time of the children that ``action`` runs and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    action()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _no_op(folder: Path) -> None:
    last_line = front_end(folder, "test").splitlines()[-1]
    if last_line != f"{CELLS} cells: {CELLS} passed (0 ran, {CELLS} up to date)":
        raise RuntimeError(f"not a no-op of {CELLS} cells: {last_line}")


def rows() -> list[Row]:
    """One figure: the no-op."""
    with project(declaration()) as folder:
        fill(folder)
        plain = folder / "plain"
        plain.mkdir()
        (plain / "dodo.py").write_text(PLAIN, encoding="utf-8")
        _no_op(folder)  # the first one judges and writes every sidecar
        python(plain, RUN_PLAIN)
        ours, peer = interleaved(
            5,
            lambda: cpu_seconds(lambda: _no_op(folder)),
            lambda: cpu_seconds(lambda: python(plain, RUN_PLAIN)),
        )
    return [Row(f"no-op of {CELLS} cells, against plain doit (CPU time)", ours, "s", peer, BUDGET)]
