"""What is kept of a cell that did not pass, and what a later run of it is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ktstr.cells.cells import Cells
from ktstr.cells.failed import asked, failed_cell, failures
from ktstr.cells.remembered import Remembered
from ktstr.cells.replayed import became, changes_since
from ktstr.config.model import CellKey
from ktstr.errors import InputError
from ktstr.options import Building, GraphOptions, Running, Select
from ktstr.planning.inputs import inputs_of
from ktstr.planning.points import Broken, CellPlan
from ktstr.record.failed import FailedReason
from ktstr.record.host import Host
from ktstr.record.sidecar import Reason
from ktstr.results.ledger import CellOutcome, Ledger, failure
from ktstr.results.replayed import Change, Fate
from tests.cells.plans import MACHINE, NAME, cell, plan
from tests.results import failed
from tests.results.cells import sidecar

STUCK = Reason("fail", "Stuck", "worker 0 stuck", "left", 0, 9.0, 1.0)


def outcome(**changes: Any) -> CellOutcome:
    whole = sidecar(passed=False, reasons=(STUCK,), kernel_version="7.2", host=Host(online_cpus=4), emulator="QEMU 10")
    return CellOutcome(NAME, "fail", ("worker 0 stuck",), True, 1.5, whole, **changes)


def test_a_failed_cell_is_kept_with_all_that_runs_it_again(tmp_path: Path) -> None:
    made = plan(tmp_path, options=GraphOptions(select=Select(work_type="Mixed"), running=Running(release=True)))
    (kept,) = (one.build() for one in failures(made, [outcome(), CellOutcome("x", "pass", ())]))
    assert (kept.name, kept.kernel, kept.verdict, kept.seed) == (NAME, "deb:forky/cloud-amd64", "fail", 7)
    assert kept.reasons == (FailedReason("Stuck", "worker 0 stuck"),)
    assert kept.asked == {"work_type": "Mixed", "release": "1"}
    assert (kept.input_digest, kept.inputs) == ("c" * 64, inputs_of(cell(tmp_path), MACHINE))
    assert (kept.kernel_version, kept.emulator, kept.host) == ("7.2", "QEMU 10", Host(online_cpus=4))


def test_a_cell_whose_scheduler_could_not_be_had_is_kept_too(tmp_path: Path) -> None:
    made, kernel = plan(tmp_path), cell(tmp_path).point.kernel
    broken = Broken("gone", CellKey("pair", "one", "default", "mine", 7), "icount", kernel, InputError("no such file"))
    kept = failed_cell(made, broken, failure("gone", broken.error))
    assert (kept.verdict, kept.reasons) == ("error", (FailedReason(None, "no such file"),))
    assert (kept.name, kept.input_digest, kept.inputs) == ("pair/one/default/mine/icount-s7", None, None)


def test_the_variables_that_decide_what_a_cell_is_are_kept(tmp_path: Path) -> None:
    options = GraphOptions(
        select=Select(scheduler=("tree:scx_simple", "bin/mine", "eevdf"), test=("pair",)),
        building=Building(("minimal", "debug"), CC="gcc-12", LLVM="-19"),
        running=Running(no_clone=True, jobs=3),
    )
    assert asked(plan(tmp_path, options=options)) == {
        "kconfig": "minimal,debug", "CC": "gcc-12", "LLVM": "-19", "no_clone": "1",
        "scheduler": f"tree:scx_simple,{tmp_path / 'bin/mine'}",
    }  # fmt: skip


def test_what_changed_is_told_by_part_and_in_words_where_there_are_some(tmp_path: Path) -> None:
    made, planned = plan(tmp_path), cell(tmp_path)
    same = inputs_of(planned, MACHINE)
    assert changes_since(failed.failed_cell(inputs=same), made, planned) == ()
    old = failed.failed_cell(inputs={**same, "kernel": "0" * 16, "files": "1" * 16}, kernel_version="7.1")
    assert changes_since(old, made, planned, sidecar(kernel_version="7.2")) == (
        Change("kernel", "7.1", "7.2"), Change("files")
    )  # fmt: skip
    unknown = failed.failed_cell(inputs=None)
    assert changes_since(unknown, made, planned) is None
    assert changes_since(failed.failed_cell(inputs=None, input_digest="c" * 64), made, planned) == ()


@pytest.mark.parametrize(
    ("accel", "ran", "host"),
    [("tcg", True, ("online_cpus: 2 → 4",)), ("icount", True, None), ("tcg", False, None)],
)
def test_host_drift_is_named_where_time_is_real(
    tmp_path: Path, accel: Any, ran: bool, host: tuple[str, ...] | None
) -> None:
    then = failed.failed_cell(accel=accel, host=Host(online_cpus=2))
    now = CellOutcome(NAME, "fail", (), ran, 1.0, outcome().sidecar)
    assert became(then, plan(tmp_path), cell(tmp_path), [now]).host == host


def test_runs_are_held_against_the_failure(tmp_path: Path) -> None:
    then = failed.failed_cell()
    passed = CellOutcome(NAME, "pass", (), True, 2.0)
    found = became(then, plan(tmp_path), cell(tmp_path), [outcome(), passed])
    assert (found.fate, found.why, found.seconds) == (Fate.MIXED, "2 runs: 1 failed, 1 passed", 3.5)
    broken = became(then, plan(tmp_path), None, [failure(NAME, InputError("no such file"))])
    assert (broken.fate, broken.changes) == (Fate.INCONCLUSIVE, None)


class Bench:
    """Gives outcomes in turn, and remembers how each was asked for."""

    def __init__(self, verdicts: list[str | None]) -> None:
        self.left, self.calls = verdicts, list[str]()

    def _next(self, call: str) -> CellOutcome | None:
        self.calls.append(call)
        verdict = self.left.pop(0)
        return None if verdict is None else CellOutcome(NAME, verdict, (str(len(self.calls)),), True)

    def run(self, planned: CellPlan) -> CellOutcome | None:
        return self._next("run")

    def again(self, planned: CellPlan) -> CellOutcome | None:
        return self._next("again")


@pytest.mark.parametrize(
    ("verdicts", "told", "count"),
    [
        (["pass", "pass", "pass"], "1", 3),
        (["pass", "fail", "pass"], "2", 3),
        (["fail", "inconclusive", "pass"], "2", 3),
        (["fail", None], "1", 1),
    ],
)
def test_of_several_runs_the_last_that_did_not_pass_is_told(
    tmp_path: Path, verdicts: list[str | None], told: str, count: int
) -> None:
    made, ledger = plan(tmp_path), Ledger()
    bench = Bench(list(verdicts))
    cells = Cells(made, ledger, Remembered(made), times=3)
    vars(cells)["_bench"] = bench
    cells.run(cell(tmp_path))
    assert bench.calls == ["run", "again", "again"][: len(verdicts)]
    assert ledger.outcomes[NAME].reasons == (told,)
    assert len(cells.runs(cell(tmp_path))) == count
