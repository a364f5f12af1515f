"""What a Dask cluster costs: jobs that return at once, a cell more than here, and cells a minute over several workers.

**Jobs**: each goes the whole way of a run's, from as many threads, to the worker of ``cluster=local``. That answers at
once: it lacks the kernel, which nobody has and nobody then sends. KTSTR_BENCH_JOBS: how many, 2000 unless set.

**Cells**: the same ones on one parked machine, one after the other, here and with ``cluster=local``. A figure is the
slope between a run of few cells and one of KTSTR_BENCH_CELLS more (40 unless set), so that no start-up is in it.

**Workers**: the same slope over 1, 2 and 4 workers that are hosts of their own (``tests.cluster.hosts``: root and
iproute2), each with its machine parked. All of them share this host's CPUs: what is measured is what sharing the work
out costs, not what more CPUs give.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.project import front_end, project
from benchmarks.table import Row, interleaved
from ktstr.cancel import Cancel
from ktstr.cells.job import ArtifactRef, Asked, CellJob, Limits
from ktstr.cluster import wire
from ktstr.cluster.address import LOCAL
from ktstr.cluster.connect import Connection
from ktstr.cluster.submit import Submissions, Tries, Wish
from ktstr.config.topology import Topology
from ktstr.host.cache import cache_root
from ktstr.host.limits import usable
from ktstr.planning.hosts import all_cpus
from ktstr.tasks.invoke import MOST_WAITING
from tests.cluster.hosts import Bed, WorkerHost, bed

JOB_MS, CELL_MS = 10.0, 50.0  # budgets
FEW, RUNS = 5, 3
WORKERS = (4, 2, 1)
DECLARED = """
kernels: {default: "deb:forky/cloud-amd64"}
presets: {one: 1n1l1c1t}
tests: {brief: {duration: 10ms, cgroups: [{name: all, workers: 1}], checks: {not_starved: false}}}
matrices: {all: {tests: [brief], presets: [one]}}
"""
KERNEL = ArtifactRef("kernels", "nobody-has-it", "0" * 64)


def rows() -> list[Row]:
    """The kernel is fetched and the machine parked first, outside of any time."""
    more = int(os.environ.get("KTSTR_BENCH_CELLS", "40"))
    with project(DECLARED) as folder:
        here = partial(_seconds, folder)
        here(FEW)
        return [_jobs(int(os.environ.get("KTSTR_BENCH_JOBS", "2000"))), *_cells(here, more), *_workers(here, more)]


def _jobs(count: int) -> Row:
    """Milliseconds a job, of many that wait for each other as those of a run do."""
    connection = Connection(LOCAL, os.environ, lambda line: None)
    try:
        workers = connection.roster.fit()
        threads = min(all_cpus([one.host(60.0) for one in workers]) + len(workers), MOST_WAITING)
        submissions = Submissions(connection)
        with ThreadPoolExecutor(threads) as pool:
            _ask(submissions, -1)  # what is imported at first use
            began = time.monotonic()
            for lacking in pool.map(partial(_ask, submissions), range(count)):
                assert lacking == wire.Lacking((KERNEL,)), lacking
            took = time.monotonic() - began
    finally:
        connection.close()
    return Row(f"{count} jobs that return at once over the cluster, each", took / count * 1000, "ms", None, JOB_MS)


def _ask(submissions: Submissions, number: int) -> object:
    """What the worker says to a job."""
    job = CellJob(
        name=f"brief/one/default/eevdf/icount-s{number}", input_digest=f"{number & 0xFFFFFFFF:064x}", accel="icount",
        machine="0" * 64, kernel=KERNEL, images=(), setup=b"", program=bytes(4096),
        topology=Topology(1, 1, 1, 1), memory_mib=256, kernel_args=(), performance=False, parked=None,
        limits=Limits(60.0, 1, 512),
    )  # fmt: skip
    needs = (wire.Need(KERNEL, KERNEL.identity),)
    return submissions.submit(Wish(job, needs, Asked(lambda worker: None), Cancel()), Tries()).body


def _cells(here: Callable[..., float], more: int) -> Iterator[Row]:
    """One cell at a time, so that none hides what another costs."""
    ours, alone = (partial(here, words=words) for words in (("jobs=1", f"cluster={LOCAL}"), ("jobs=1",)))
    ours(FEW)
    there, peer = interleaved(RUNS, lambda: _per_cell(ours, more), lambda: _per_cell(alone, more))
    yield Row("a run cell over the cluster, more than here", (there - peer) * 1000, "ms", None, CELL_MS)
    yield Row("a run cell over the cluster, against here", there * 1000, "ms", peer * 1000)


def _workers(here: Callable[..., float], more: int) -> Iterator[Row]:
    """One cluster for all: it loses workers from one figure to the next."""
    with TemporaryDirectory(prefix="ktstr-bench-") as name, bed(Path(name), cache_root(os.environ), WORKERS[0]) as made:
        there = partial(here, words=(f"cluster={made.address}",), enter=made.hub.enter)
        _warm(made, there, more)
        for count in WORKERS:
            for host in made.hosts[count:]:
                made.end_worker(host)
            ours, peer = interleaved(RUNS, lambda: _per_cell(there, more), lambda: _per_cell(here, more))
            what = f"cells a minute, {count} worker{'s' if count != 1 else ''} sharing this host's {usable().cpus} CPUs"
            yield Row(what, 60 / ours, "", 60 / peer)


def _warm(made: Bed, there: Callable[..., float], more: int) -> None:
    """Until each worker has parked the machine."""

    def lacking() -> list[WorkerHost]:
        return [host for host in made.hosts if not any((host.cache / "machines").glob("[0-9a-f]*"))]

    for _ in range(RUNS):
        there(FEW + more)
        if not lacking():
            return
    raise RuntimeError(f"{', '.join(host.name for host in lacking())}: had no cell\n{made.logs()}")


def _per_cell(run: Callable[[int], float], more: int) -> float:
    """Seconds."""
    few, many = run(FEW), run(FEW + more)
    return (many - few) / more


def _seconds(folder: Path, cells: int, words: tuple[str, ...] = (), enter: tuple[str, ...] = ()) -> float:
    """Of a whole run of so many cells."""
    given = ("accel=icount", "offline=1", "rerun=1", f"seeds=1..{cells}", *words)
    began = time.monotonic()
    front_end(folder, "test", *given, enter=enter)
    return time.monotonic() - began
