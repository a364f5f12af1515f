from __future__ import annotations

from pathlib import Path

from ktstr.cells.dumps import LINES_SHOWN, Dumped, dumps_in, told, write_dump
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome
from ktstr.results.names import dump_name
from tests.checks.failure.dumps import ERROR, STALL
from tests.checks.failure.test_build import guest
from tests.checks.reports import record
from tests.results.cells import IDENTITY


def outcome(folder: Path, log: str, *, verdict: str = Outcome.FAIL) -> CellOutcome:
    folder.mkdir()
    (folder / "console.log").write_text("booting\n")
    cell = Dumped(f"{folder.name}/tiny/k/mine/icount-s0", IDENTITY, folder)
    write_dump(cell, record(guest(sched_dump=log)), None)
    return CellOutcome(cell.name, verdict, ("evicted",), files=dumps_in(folder))


def test_a_lost_scheduler_leaves_a_text_and_a_document(tmp_path: Path) -> None:
    outcome(tmp_path / "one", STALL)
    name = dump_name(IDENTITY)
    assert [Path(path).name for path in dumps_in(tmp_path / "one")] == [name.replace(".json", ".txt"), name]


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    outcome(tmp_path / "one", STALL)
    before = [Path(path).stat().st_ino for path in dumps_in(tmp_path / "one")]
    write_dump(Dumped("one/tiny/k/mine/icount-s0", IDENTITY, tmp_path / "one"), record(guest(sched_dump=STALL)), None)
    assert [Path(path).stat().st_ino for path in dumps_in(tmp_path / "one")] == before


def test_a_scheduler_that_was_not_lost_leaves_nothing(tmp_path: Path) -> None:
    write_dump(Dumped("x/tiny/k/mine/icount-s0", IDENTITY, tmp_path), record(guest(sched_events=())), None)
    assert dumps_in(tmp_path) == ()


def test_the_first_lost_cell_is_told_whole_but_for_its_end_and_the_others_in_a_sentence(tmp_path: Path) -> None:
    first, second = outcome(tmp_path / "one", STALL + "sched_ext_dump: more\n" * 200), outcome(tmp_path / "two", ERROR)
    text = told([first, second])
    assert text.startswith("BUG SUMMARY: ktstr stalled")
    assert text.count("BUG SUMMARY:") == 2 and text.count("--- waiting tasks ---") == 1
    lines = text.splitlines()
    assert lines[LINES_SHOWN].startswith("[") and lines[LINES_SHOWN].endswith(f"{first.files[0]}]")
    assert lines[-1] == f"  two/tiny/k/mine/icount-s0: {second.files[0]}"
    assert "scx_bpf_error: no queue for cell (3)" in " ".join(text.split())


def test_cells_that_passed_and_dumps_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    expected, damaged = outcome(tmp_path / "one", STALL, verdict=Outcome.PASS), outcome(tmp_path / "two", STALL)
    Path(damaged.files[1]).write_text("{")
    assert told([expected, damaged]) == ""
