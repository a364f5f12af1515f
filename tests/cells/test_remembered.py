"""A remembered cell stands only while everything it was made from is as it was; in any doubt it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ktstr.cells.publish import publish
from ktstr.cells.remembered import Remembered
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan
from ktstr.record.sidecar import Sidecar
from ktstr.results.judged import FILE, Row, read_rows, sources_digest, write_rows
from ktstr.results.ledger import CellOutcome
from ktstr.results.store import RECORD, CellStore
from ktstr.results.view import Epoch
from tests.cells.plans import NAME, plan
from tests.results.cells import sidecar


@dataclass(frozen=True)
class Run:
    plan: Plan
    remembered: Remembered
    epoch: Epoch

    def publish(self, outcome: CellOutcome) -> list[CellOutcome]:
        return publish(self.plan, self.remembered, self.epoch, [outcome])


ROW = Row("c" * 64, "d" * 64, [3, 5], 7, "pass", [], 1.5, ["console.log"], "7.2", "icount-s7/t.ktstr.json", ["a", "b"])


def never() -> Sidecar:
    raise AssertionError("the sidecar was made anew")


def session(folder: Path, token: str, **environ: str) -> Run:
    """A later run of the same project each time the token is new."""
    made = plan(folder, environ=environ)
    return Run(made, Remembered(made), Epoch(token, 0))


def judged(run: Run, **changes: object) -> Path:
    """The cell as judged and published by ``run``; its published sidecar."""
    project = run.plan.request.project
    (planned,) = run.plan.cells
    record = CellStore(project.cells).folder(planned.input_digest) / RECORD
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("{}")
    whole = sidecar(input_digest=planned.input_digest, preset="one", kernel_version="7.2")
    outcome = CellOutcome(
        planned.name, "pass", ("why",), True, 1.5, whole, files=(f"{record.parent}/console.log",), lasting=True
    )
    (out,) = run.publish(replace(outcome, **changes))  # type: ignore[arg-type]
    assert out.path is not None
    return project.stand / out.path


def found(run: Run, planned: CellPlan | None = None) -> CellOutcome | None:
    return run.remembered.find(planned or run.plan.cells[0], never)


def test_what_was_judged_and_published_stands(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    outcome = found(session(tmp_path, "b"))
    assert outcome is not None
    assert (outcome.verdict, outcome.reasons, outcome.ran, outcome.seconds) == ("pass", ("why",), False, 1.5)
    assert outcome.files == (f"{CellStore(tmp_path / 'target/ktstr/.cells').folder('c' * 64)}/console.log",)


def test_it_is_published_again_without_being_read_and_belongs_to_the_new_session(tmp_path: Path) -> None:
    path = judged(session(tmp_path, "a"))
    inode = path.stat().st_ino
    for token in ("b", "c"):
        run = session(tmp_path, token)
        outcome = found(run)
        assert outcome is not None
        (out,) = run.publish(outcome)
        assert tmp_path / str(out.path) == path
        assert path.stat().st_ino == inode
    assert found(session(tmp_path, "d")) is not None


def test_what_need_not_last_is_not_remembered(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"), lasting=False)
    assert found(session(tmp_path, "b")) is None


def test_another_basis_input_or_name_does_not_stand(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    run = session(tmp_path, "b")
    (planned,) = run.plan.cells
    assert found(run, replace(planned, point=replace(planned.point, basis="e" * 64))) is None
    assert found(run, replace(planned, input_digest="f" * 64)) is None
    assert found(run, replace(planned, name="another/cell")) is None


def same_size(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"true", b"TRUE"))


@pytest.mark.parametrize("damage", [Path.unlink, same_size, lambda path: path.write_bytes(b"")])
def test_a_published_sidecar_that_someone_touched_does_not_stand(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    damage(judged(session(tmp_path, "a")))
    assert found(session(tmp_path, "b")) is None


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text("[]"), lambda path: os.utime(path, (1, 1))]
)
def test_a_record_that_changed_does_not_stand(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    judged(session(tmp_path, "a"))
    damage(CellStore(tmp_path / "target/ktstr/.cells").folder("c" * 64) / RECORD)
    assert found(session(tmp_path, "b")) is None


def test_a_directory_the_user_names_for_sidecars_is_filled_from_the_records(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    assert found(session(tmp_path, "b", KTSTR_SIDECAR_DIR="out")) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"0" * 64 + b"\n{}", b"\xff" * 100])
def test_a_damaged_file_holds_no_rows(tmp_path: Path, damage: bytes) -> None:
    judged(session(tmp_path, "a"))
    path = tmp_path / "target/ktstr/.state" / FILE
    assert read_rows(path)
    path.write_bytes(damage)
    assert read_rows(path) == {}
    assert found(session(tmp_path, "b")) is None


def test_one_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / FILE
    write_rows(path, {"t": ROW})
    assert read_rows(path) == {"t": ROW}
    path.write_bytes(path.read_bytes().replace(b"pass", b"fail"))
    assert read_rows(path) == {}


def test_rows_of_cells_that_were_not_selected_stay(tmp_path: Path) -> None:
    run = session(tmp_path, "a")
    path = run.plan.request.project.state / FILE
    path.parent.mkdir(parents=True)
    write_rows(path, {"other": ROW})
    judged(run)
    assert sorted(read_rows(path)) == sorted(["other", NAME])


def test_the_input_digest_is_known_on_the_same_basis_only(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    known = session(tmp_path, "b").plan.judged
    assert known.digest(NAME, "d" * 64) == "c" * 64
    assert known.digest(NAME, "e" * 64) is None
    assert known.digest("another/cell", "d" * 64) is None


@pytest.mark.parametrize("folder", [".", "checks", "commands/declare"])
def test_other_sources_of_this_program_are_another_basis(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    module = tmp_path / folder / "judge.py"
    module.write_text("a")
    before = sources_digest(tmp_path)
    assert sources_digest(tmp_path) == before
    module.write_text("bb")
    assert sources_digest(tmp_path) != before
