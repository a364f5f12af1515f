"""A remembered cell stands only while everything it was made from is as it was; in any doubt it does not."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.cells.publish import publish
from ktstr.cells.remembered import FILE, Remembered, Row, read_rows, sources_digest, write_rows
from ktstr.planning.plan import CellPlan, Plan
from ktstr.progress import Progress
from ktstr.record.sidecar import Sidecar
from ktstr.results.store import RECORD
from ktstr.results.view import Epoch
from ktstr.tasks.session import Outcome, Session
from tests.cells.test_cell import planned
from tests.cells.test_cell import session as made_session
from tests.results.cells import sidecar

ROW = Row("c" * 64, "d" * 64, [3, 5], 7, "pass", [], 1.5, ["console.log"], "7.2", "icount-s7/t.ktstr.json", ["a", "b"])


def never() -> Sidecar:
    raise AssertionError("the sidecar was made anew")


def session(folder: Path, token: str, **environ: str) -> Session:
    """A later session of the same project each time the token is new."""
    run = replace(made_session(folder, Progress(io.StringIO())), epoch=Epoch(token, 0), environ=environ)
    cell = planned(folder)
    run.plan = Plan((cell,), (), (), {}, None, None)  # type: ignore[arg-type]
    return run


def judged(run: Session, **changes: object) -> Path:
    """The cell as judged and published by ``run``; its published sidecar."""
    cell = planned(run.project.root)
    record = run.project.cells / cell.input_digest / RECORD
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("{}")
    whole = sidecar(input_digest=cell.input_digest, preset="one", kernel_version="7.2")
    outcome = Outcome(
        cell.name, "pass", ("why",), True, 1.5, whole, files=(f"{record.parent}/console.log",), lasting=True
    )
    (out,) = publish(run, [replace(outcome, **changes)])  # type: ignore[arg-type]
    assert out.path is not None
    return run.project.stand / out.path


def found(run: Session, cell: CellPlan | None = None) -> Outcome | None:
    return Remembered(run).find(cell or planned(run.project.root), never)


def test_what_was_judged_and_published_stands(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    outcome = found(session(tmp_path, "b"))
    assert outcome is not None
    assert (outcome.verdict, outcome.reasons, outcome.ran, outcome.seconds) == ("pass", ("why",), False, 1.5)
    assert outcome.files == (f"{tmp_path}/target/ktstr/.cells/{'c' * 64}/console.log",)


def test_it_is_published_again_without_being_read_and_belongs_to_the_new_session(tmp_path: Path) -> None:
    path = judged(session(tmp_path, "a"))
    inode = path.stat().st_ino
    for token in ("b", "c"):
        run = session(tmp_path, token)
        outcome = found(run)
        assert outcome is not None
        (out,) = publish(run, [outcome])
        assert run.project.stand / str(out.path) == path
        assert path.stat().st_ino == inode
    assert found(session(tmp_path, "d")) is not None


def test_what_need_not_last_is_not_remembered(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"), lasting=False)
    assert found(session(tmp_path, "b")) is None


def test_another_basis_input_or_name_does_not_stand(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    run = session(tmp_path, "b")
    cell = planned(tmp_path)
    assert found(run, replace(cell, point=replace(cell.point, basis="e" * 64))) is None
    assert found(run, replace(cell, input_digest="f" * 64)) is None
    assert found(run, replace(cell, name="another/cell")) is None


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
    damage(tmp_path / "target/ktstr/.cells" / ("c" * 64) / RECORD)
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
    path = run.project.state / FILE
    path.parent.mkdir(parents=True)
    write_rows(path, {"other": ROW})
    judged(run)
    assert sorted(read_rows(path)) == sorted(["other", planned(tmp_path).name])


def test_the_input_digest_is_known_on_the_same_basis_only(tmp_path: Path) -> None:
    judged(session(tmp_path, "a"))
    known = Remembered(session(tmp_path, "b"))
    assert known.digest(planned(tmp_path).name, "d" * 64) == "c" * 64
    assert known.digest(planned(tmp_path).name, "e" * 64) is None
    assert known.digest("another/cell", "d" * 64) is None


def test_other_sources_of_this_program_are_another_basis(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    module = tmp_path / "checks" / "judge.py"
    module.write_text("a")
    before = sources_digest(tmp_path)
    assert sources_digest(tmp_path) == before
    module.write_text("bb")
    assert sources_digest(tmp_path) != before
