"""A cell that the environment cannot do is an error among the outcomes, and no failed task."""

from __future__ import annotations

import io
from pathlib import Path

from ktstr.cells.cells import Cells
from ktstr.cells.job import ParkedRef
from ktstr.cells.judge import identity
from ktstr.cells.measure import job_of
from ktstr.cells.remembered import Remembered
from ktstr.progress import Progress
from ktstr.results.ledger import ExitRules, Ledger
from tests.cells.plans import NAME, cell, plan


def test_a_store_that_cannot_be_written_makes_the_cell_an_error(tmp_path: Path) -> None:
    said = io.StringIO()
    progress, ledger = Progress(said), Ledger()
    progress.expect(1)
    made = plan(tmp_path, progress=progress)
    store = made.request.project.cells
    store.parent.mkdir(parents=True)
    store.write_text("a file where the store's folder belongs")
    Cells(made, ledger, Remembered(made)).run(cell(tmp_path))
    outcome = ledger.outcomes[NAME]
    assert (outcome.verdict, outcome.ran, outcome.sidecar) == ("error", False, None)
    assert outcome.error is not None and outcome.error.exit_code == 3
    fix = "move away what is there, or set KTSTR_RUNS_ROOT"
    assert outcome.reasons == (f"{store}: cannot be written: File exists\n  fix: {fix}",)
    assert said.getvalue() == f"[1/1] error        {NAME}\n"
    assert (ledger.failures, ledger.failed_cells(), ledger.exit_code(ExitRules())) == ({}, 1, 3)


def test_the_sidecar_tells_the_seed_s_perturbations_as_the_scenario_does(tmp_path: Path) -> None:
    planned = cell(tmp_path)
    told = identity(plan(tmp_path), planned).perturbations
    assert told == planned.compiled.perturbations.as_json()
    assert (told["generator"], told["seed"], told["spawn_order"]) == ("splitmix64/1", 7, [0])


def test_the_job_of_a_cell_names_what_it_boots_by_kind_and_digest(tmp_path: Path) -> None:
    job = job_of(plan(tmp_path), cell(tmp_path))
    assert (job.kernel.kind, job.kernel.key, job.kernel.identity, job.kernel.stored) == (
        "kernels",
        "key",
        "a" * 64,
        True,
    )
    assert [(image.kind, image.key) for image in job.images] == [("images", "b" * 64)]
    assert (job.program, job.setup, job.limits.host_seconds) == (cell(tmp_path).program, b"", 900.0)
    parked = cell(tmp_path).point.parked
    assert parked is not None and job.parked == ParkedRef(parked.key, "default/one/eevdf/icount")
