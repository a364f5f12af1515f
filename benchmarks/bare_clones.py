"""``python -m benchmarks.bare_clones TEST PRESET SCHEDULER SEEDS``, in a project's folder: the clones that its cells
are, each started and waited for by as many threads as there are CPUs. Nobody looks at them, and nothing is kept."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from ktstr.cancel import Cancel
from ktstr.cells.job import ArtifactStore
from ktstr.cells.measure import job_of
from ktstr.commands.declare.command import Invocation
from ktstr.commands.declare.plans import plan_cells
from ktstr.config.project import find_project
from ktstr.host.limits import usable
from ktstr.options import Fetching, GraphOptions, Select, TestOptions
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan
from ktstr.progress import Progress
from ktstr.results.ledger import Ledger
from ktstr.results.view import epoch
from ktstr.vm.snapshot import Parked, Snapshot
from ktstr.vm.snapshot_store import SnapshotStore


def _plan(test: str, preset: str, scheduler: str, seeds: str) -> Plan:
    select = Select(test=(test,), preset=(preset,), scheduler=(scheduler,), seeds=(seeds,), accel="icount")
    options = TestOptions(GraphOptions(select=select, fetching=Fetching(offline=True)))
    environ = dict(os.environ)
    invocation = Invocation(
        find_project(Path.cwd(), environ), environ, ("test",), Progress(sys.stderr), Cancel(), Ledger(), epoch(environ)
    )
    return plan_cells(invocation, options).plan


def _unmade() -> Parked:
    raise RuntimeError("the machine is not made: run one of its cells first")


def run(plan: Plan) -> None:
    """All cells of a plan, whose machine is made."""
    cache, cancel, machine = plan.archive.cache, plan.request.cancel, plan.machine
    artifacts, snapshots = ArtifactStore(cache, cache), SnapshotStore(cache)
    assert machine is not None

    def clone(cell: CellPlan) -> None:
        job = job_of(plan, cell)
        assert job.parked is not None
        with (
            TemporaryDirectory(dir=plan.request.project.state) as folder,
            snapshots.holding(job.parked.key, _unmade, job.parked.name) as held,
        ):
            assert isinstance(held, Snapshot)
            with machine.start(artifacts.guest(job), Path(folder), 900, cancel, snapshot=held) as guest:
                end = guest.wait().end
        if end.reason != "clean":
            raise RuntimeError(f"{cell.name}: {end.reason}: {end.detail}")

    with ThreadPoolExecutor(usable().cpus) as pool:
        list(pool.map(clone, plan.cells))
    snapshots.close()


if __name__ == "__main__":
    run(_plan(*sys.argv[1:5]))
