"""Loading a pool of 10,000 sidecars: the first time, with its index, and to compare a half of it; against
``json.load`` of the same files.

A guest was booted for one of them; the others have its sidecar with another name, seed, kernel and numbers. Each
figure is of a process of its own, from its start, in CPU seconds: of two, the busier host would otherwise tell more.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

from msgspec.structs import replace

from benchmarks.project import front_end, project, python
from benchmarks.table import Row, interleaved
from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import dump, read_sidecar

SIDECARS = 10_000
SEEDS = 100
KERNELS = ("7.2.1", "7.2.2", "7.3.0", "7.4.0")
BUDGET_COLD, BUDGET_INDEXED, BUDGET_MIB = 15, 2, 1024
DECLARATION = """
kernels: {default: "deb:forky/cloud-amd64"}
presets: {p: 1n1l2c1t}
tests: {t: {duration: 200ms, cgroups: [{name: all, workers: 8}], checks: {not_starved: false}}}
matrices: {all: {tests: ['*'], presets: [p]}}
"""
LOAD = """
import json, resource, sys, time
from ktstr.stats import load_pool
pool = load_pool(sys.argv[1])
seconds = time.process_time()
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "mib": mib, "runs": len(pool.runs), "skipped": len(pool.skipped)}))
"""
COMPARE = LOAD.replace(
    "seconds =",
    """
from ktstr.stats.compare.engine import compare
from ktstr.stats.compare.filters import Filters
found = compare(pool, Filters(kernel=("7.2.1",)), Filters(kernel=("7.3.0",)))
assert found.a_runs == found.b_runs > 1000, found.a_runs
seconds =""",
)
PLAIN = """
import json, pathlib, sys, time
found = [json.load(path.open()) for path in pathlib.Path(sys.argv[1]).rglob("*.ktstr.json")]
print(json.dumps({"seconds": time.process_time(), "runs": len(found)}))
"""


def fill(root: Path, like: Sidecar) -> None:
    """``SIDECARS`` files in ``root``, as run directories have them: a folder for each kernel, one for each seed."""
    rng = random.Random(12)
    for number in range(SIDECARS):
        seed, kernel = number % SEEDS, KERNELS[number // SEEDS % len(KERNELS)]
        name = f"test_{number // (SEEDS * len(KERNELS))}"
        folder = root / f"{kernel}-abc1234" / f"icount-s{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-0123456789abcdef.ktstr.json").write_bytes(dump(_varied(like, name, kernel, seed, rng)))


def _varied(like: Sidecar, name: str, kernel: str, seed: int, rng: random.Random) -> Sidecar:
    metrics = {metric: value * rng.uniform(0.9, 1.1) for metric, value in like.stats.ext_metrics.items()}
    stats = replace(like.stats, ext_metrics=metrics)
    return replace(like, test_name=name, kernel_version=kernel, seed=seed, stats=stats)


def measured(root: Path, script: str) -> dict[str, float]:
    """What a script of ours prints of all files; raises RuntimeError when it did not see all of them."""
    found: dict[str, float] = json.loads(python(root, ("-c", script, str(root))))
    if found["runs"] != SIDECARS or found.get("skipped"):
        raise RuntimeError(f"not a pool of {SIDECARS}: {found}")
    return found


def _cold(root: Path) -> dict[str, float]:
    shutil.rmtree(root / ".state", ignore_errors=True)
    return measured(root, LOAD)


def rows() -> list[Row]:
    """The first load, the one with an index, and the memory of both."""
    with project(DECLARATION) as folder:
        front_end(folder, "test", "seed=1")
        root = folder / "pool"
        fill(root, read_sidecar(next((folder / "target" / "ktstr").glob("*/*/*.ktstr.json"))))
        measured(root, PLAIN)  # files are in memory from here on, for both
        cold, plain = interleaved(3, lambda: _cold(root)["seconds"], lambda: measured(root, PLAIN)["seconds"])
        memory = _cold(root)["mib"]
        indexed = [measured(root, LOAD) for _ in range(3)]
        compared = sorted(measured(root, COMPARE)["seconds"] for _ in range(3))[1]
    seconds = sorted(run["seconds"] for run in indexed)[1]
    return [
        Row(f"{SIDECARS} sidecars, first load (CPU time)", cold, "s", None, BUDGET_COLD),
        Row(f"{SIDECARS} sidecars, first load, against json.load (CPU)", cold, "s", plain, None),
        Row(f"{SIDECARS} sidecars, with their index (CPU time)", seconds, "s", None, BUDGET_INDEXED),
        Row(f"{SIDECARS} sidecars, with their index, and compared", compared, "s", None, BUDGET_INDEXED),
        Row(f"{SIDECARS} sidecars, peak memory, first load", memory, "MiB", None, BUDGET_MIB),
        Row(f"{SIDECARS} sidecars, peak memory, with their index", indexed[0]["mib"], "MiB", None, BUDGET_MIB),
    ]
