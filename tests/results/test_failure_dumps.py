from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktstr.errors import HostError, InputError
from ktstr.results.failure_dumps import dump, publish_dumps, read_dump
from ktstr.results.names import dump_name, file_name
from tests.checks.failure.dumps import STALL
from tests.checks.failure.test_build import dumped, guest
from tests.results.cells import IDENTITY

SETTING = "KTSTR_RUNS_ROOT"


def written(folder: Path) -> tuple[str, str]:
    """A cell's folder with a dump: its files."""
    folder.mkdir()
    files = (folder / "t-0123456789abcdef.failure-dump.json", folder / "t-0123456789abcdef.failure-dump.txt")
    files[0].write_bytes(dump(dumped(guest(sched_dump=STALL))))
    files[1].write_text("BUG SUMMARY: x\n")
    return str(files[0]), str(files[1])


def test_a_dump_is_named_as_its_sidecar() -> None:
    assert dump_name(IDENTITY) == file_name(IDENTITY).removesuffix(".ktstr.json") + ".failure-dump.json"


def test_a_dump_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "cell")
    assert read_dump(Path(path)) == dumped(guest(sched_dump=STALL))


def test_a_file_that_is_no_dump_is_named_with_its_first_wrong_field(tmp_path: Path) -> None:
    path = Path(written(tmp_path / "cell")[0])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stage": 5}))
    with pytest.raises(InputError, match=r"failure-dump\.json: dump\.stage: found 5"):
        read_dump(path)


def test_dumps_lie_beside_their_sidecars_and_those_of_cells_without_one_go(tmp_path: Path) -> None:
    files = written(tmp_path / "cell")
    view = tmp_path / "view"
    view.mkdir()
    lost, fine, other = (view / f"{name}.ktstr.json" for name in ("lost-1", "fine-2", "other-3"))
    (view / "fine-2.failure-dump.json").write_text("of an earlier run")
    (view / "other-3.failure-dump.json").write_text("not of this run")
    publish_dumps({lost: files, fine: ()}, SETTING)
    assert (view / "lost-1.failure-dump.json").read_bytes() == Path(files[0]).read_bytes()
    assert (view / "lost-1.failure-dump.txt").read_text() == "BUG SUMMARY: x\n"
    assert not (view / "fine-2.failure-dump.json").exists()
    assert (view / "other-3.failure-dump.json").read_text() == "not of this run"
    assert not other.exists()


def test_a_copy_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    files = written(tmp_path / "cell")
    sidecar = tmp_path / "lost-1.ktstr.json"
    publish_dumps({sidecar: files}, SETTING)
    before = (tmp_path / "lost-1.failure-dump.json").stat().st_ino
    publish_dumps({sidecar: files}, SETTING)
    assert (tmp_path / "lost-1.failure-dump.json").stat().st_ino == before


def test_a_dump_that_cannot_be_copied_is_the_environments_error(tmp_path: Path) -> None:
    files = written(tmp_path / "cell")
    Path(files[0]).unlink()
    with pytest.raises(HostError, match=r"lost-1\.failure-dump\.json"):
        publish_dumps({tmp_path / "lost-1.ktstr.json": files}, SETTING)
