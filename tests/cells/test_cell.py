"""A cell that the environment cannot do is an error among the outcomes, and no failed task."""

from __future__ import annotations

import io
from pathlib import Path

from ktstr.cells.cell import identity, run_cell
from ktstr.cells.tokens import TokenPool
from ktstr.config.load import parse
from ktstr.config.model import CellKey
from ktstr.config.project import Project
from ktstr.config.topology import Topology
from ktstr.host.cache import Cache
from ktstr.kernels.spec import DebSpec
from ktstr.planning.artifacts import Image
from ktstr.planning.kernels import Kernel
from ktstr.planning.plan import CellPlan, Point
from ktstr.progress import Progress
from ktstr.results.view import Epoch
from ktstr.tasks.main import exit_code
from ktstr.tasks.session import Session

TEXT = b"{kernels: {k: 6.14}, tests: {pair: {cgroups: [{name: left, workers: 2}]}}}"
NAME = "pair/one/default/eevdf/icount-s7"


def planned(folder: Path) -> CellPlan:
    """A cell whose kernel and image are not in the cache; whoever gets that far fails."""
    config = parse(TEXT, Path("ktstr.yaml"), validated=True)
    test, scheduler, topology = config.tests["pair"], config.schedulers["eevdf"], Topology.parse("1n1l1c1t")
    spec, cache = DebSpec("forky", "cloud-amd64"), Cache(folder / "cache")
    point = Point(
        accel="icount", test=test, scheduler=scheduler, topology=topology,
        kernel=Kernel("default", spec, "key", "a" * 64, cache, (), "kernel:default"),
        image=Image("image:agent-only", "b" * 64, folder / "image.cpio", None), memory_mib=64, host_cpus=1,
        kernel_args=(), needs=(), command=(), basis="d" * 64,
    )  # fmt: skip
    return CellPlan(NAME, CellKey("pair", "one", "default", "eevdf", 7), "c" * 64, point)


def session(folder: Path, progress: Progress) -> Session:
    project = Project(folder, folder, folder / "target/ktstr")
    return Session(project, ("test",), {}, {}, progress, TokenPool(1, 64), Epoch("t", 0))


def test_a_store_that_cannot_be_written_makes_the_cell_an_error(tmp_path: Path) -> None:
    said = io.StringIO()
    progress = Progress(said)
    progress.expect(1)
    run = session(tmp_path, progress)
    run.project.runs_root.mkdir(parents=True)
    run.project.cells.write_text("a file where the store's folder belongs")
    run_cell(run, planned(tmp_path))
    outcome = run.outcomes[NAME]
    assert (outcome.verdict, outcome.exit_code, outcome.ran, outcome.sidecar) == ("error", 3, False, None)
    fix = "move away what is there, or set KTSTR_RUNS_ROOT"
    assert outcome.reasons == (f"{run.project.cells}: cannot be written: File exists\n  fix: {fix}",)
    assert said.getvalue() == f"[1/1] error        {NAME}\n"
    assert (run.failures, run.failed_cells(), exit_code(run)) == ({}, 1, 3)


def test_the_sidecar_tells_the_seed_s_perturbations_as_the_scenario_does(tmp_path: Path) -> None:
    cell = planned(tmp_path)
    told = identity(session(tmp_path, Progress(io.StringIO())), cell).perturbations
    assert told == cell.compiled.perturbations.as_json()
    assert (told["generator"], told["seed"], told["spawn_order"]) == ("splitmix64/1", 7, [0])
