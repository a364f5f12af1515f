"""``doit merge``, on shards that were made without a guest."""

from __future__ import annotations

import io
import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from ktstr.cancel import Cancel
from ktstr.commands import merge
from ktstr.commands.declare.command import Invocation, Report
from ktstr.config.project import Project
from ktstr.errors import InputError
from ktstr.progress import Progress
from ktstr.record.part import PartError, PartFailure
from ktstr.results.last import failed_cells
from ktstr.results.ledger import ExitRules, Ledger
from ktstr.results.sidecar import dump, read_sidecar
from ktstr.results.store import folder_name
from ktstr.results.view import Epoch
from tests.results.parts import (
    COMMIT,
    NAMES,
    ROWS,
    VERSION,
    YAML,
    Shard,
    digest_of,
    make_project,
    place_of,
    three,
)

ROOT = Path(__file__).parents[2]
RUN = f"{VERSION}-{COMMIT}"


@dataclass(frozen=True)
class Merging:
    """A project, and three shards of one run of it in ``parts/``."""

    path: Path
    shards: list[Shard]
    ledger: Ledger

    def merge(self, **options: Any) -> Report:
        """What ``doit merge dir=parts/1,parts/2,parts/3`` reports. Raises what it raises."""
        given = merge.Options(**{"dir": tuple(str(one.root) for one in self.shards), **options})
        return merge.run(self.invocation, given)

    @property
    def invocation(self) -> Invocation:
        project = Project(self.path, self.path, self.path / "target/ktstr")
        return Invocation(
            project, {}, ("merge",), Progress(io.StringIO(), {}), Cancel(), self.ledger, Epoch("t", 1)
        )  # fmt: skip

    def edit(self, index: int, change: Callable[[dict[str, Any]], None]) -> None:
        self.shards[index - 1].write(change)


@pytest.fixture
def merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Merging:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    path = make_project(tmp_path / "project")
    shards = three(path, tmp_path / "parts")
    for one in shards:
        one.write()
    return Merging(path, shards, Ledger())


def tree(root: Path) -> dict[str, bytes]:
    """The files of a folder of run directories, but for state and locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".state", ".locks"} & set(path.relative_to(root).parts)
    }


def test_the_table_has_every_cell_of_the_run_in_its_order(merging: Merging) -> None:
    report = merging.merge()
    rows = [line for line in report.text.partition("\n\n")[0].splitlines() if not line.startswith("    ")][1:]
    assert [row.split()[-1] for row in rows] == ROWS
    verdicts = ["pass", "fail", "error", "not run", "error", "skip", "skip"]
    assert [row[:13].strip().lower() for row in rows] == verdicts
    assert "7 cells: 1 passed, 1 failed, 2 skipped, 2 in error, 1 not run (3 ran, 0 up to date)\n" in report.text
    assert f"    sidecar    target/ktstr/{RUN}/icount-s1/steady-" in report.text
    assert f"    file       target/ktstr/.cells/{folder_name(digest_of(1))}/console.log\n" in report.text
    pins = "test=steady preset=tiny kernel=default scheduler=scx_ktstr accel=icount seed=1"
    assert f"    reproduce  doit test {pins} rerun=1\n" in report.text
    assert merging.ledger.exit_code(ExitRules()) == 3  # two in error


def test_what_was_measured_is_this_projects_own_afterwards(merging: Merging) -> None:
    merging.merge()
    runs = merging.path / "target/ktstr"
    theirs = merging.shards[0].root
    record = f".cells/{folder_name(digest_of(0))}/record.json"
    assert (runs / record).read_bytes() == (theirs / record).read_bytes()
    assert (runs / f".cells/.errors/{folder_name(digest_of(2))}/console.log").read_text() == "lost\n"
    cells = [(one, at) for one in merging.shards for at, cell in enumerate(one.part.cells) if cell.has_sidecar]
    assert len(cells) == 4
    for one, at in cells:
        assert (runs / place_of(one.part.cells[at])).read_bytes() == one.sidecar(at).read_bytes()


def test_what_failed_is_remembered_with_what_it_failed_with(merging: Merging) -> None:
    merging.merge()
    kept = failed_cells(merging.path / "target/ktstr/.state")
    assert set(kept) == {NAMES[1], NAMES[2], NAMES[3]}
    assert (kept[NAMES[1]].kernel, kept[NAMES[1]].input_digest) == ("default", digest_of(1))
    assert kept[NAMES[1]].kernel_version == VERSION and kept[NAMES[1]].project_commit == COMMIT
    assert [reason.message for reason in kept[NAMES[3]].reasons] == ["scx_ktstr: found no such program"]


def test_a_second_merge_is_the_same_as_the_first(merging: Merging) -> None:
    first = merging.merge(json=True)
    files = tree(merging.path / "target/ktstr")
    assert merging.merge(json=True) == first
    assert tree(merging.path / "target/ktstr") == files


def test_a_part_that_lies_in_the_project_itself_is_merged_in_place(merging: Merging) -> None:
    shutil.copytree(merging.shards[0].root, merging.path / "target/ktstr")
    report = merging.merge(dir=("target/ktstr", *(str(one.root) for one in merging.shards[1:])))
    assert "7 cells: 1 passed" in report.text


def test_json_and_junit_have_all_cells(merging: Merging) -> None:
    report = merging.merge(json=True, junit="out/junit.xml")
    found = json.loads(report.text)
    jsonschema.validate(found, json.loads((ROOT / "schemas/test_output.schema.json").read_text()))
    assert [cell["name"] for cell in found["cells"]] == ROWS
    assert found["counts"] == {"pass": 1, "fail": 1, "inconclusive": 0, "skip": 2, "error": 2, "not run": 1}
    suite = ET.parse(merging.path / "out/junit.xml").getroot()
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["7", "1", "2", "3"]


def test_a_kernel_that_no_shard_could_build_is_one_failure_of_the_whole(merging: Merging) -> None:
    failure = PartFailure(task="kernel:default", error=PartError(message="no gcc", fix="get it", exit_code=3))
    for one in merging.shards[:2]:
        one.with_part(failures=(failure,)).write()
    merging.merge()
    assert {task: str(err) for task, err in merging.ledger.failures.items()} == {
        "kernel:default": "no gcc\n  fix: get it"
    }


def test_an_interrupted_shard_makes_the_table_partial_and_the_code_3(merging: Merging) -> None:
    merging.shards[1].with_part(interrupted=True).write()
    report = merging.merge()
    assert "INTERRUPTED: the table is partial" in report.text
    (error,) = merging.ledger.failures.values()
    assert error.message == "was interrupted: 1 of its 3 cells did not run"
    assert (error.exit_code, "shard=2/3" in str(error.fix)) == (3, True)


def test_nothing_is_written_when_a_shard_is_missing(merging: Merging) -> None:
    with pytest.raises(InputError, match="shard 3/3 is missing"):
        merging.merge(dir=tuple(str(one.root) for one in merging.shards[:2]))
    assert not (merging.path / "target").exists() or tree(merging.path / "target") == {}


def test_other_declarations_than_the_shards_ran_are_refused(merging: Merging) -> None:
    (merging.path / "ktstr.yaml").write_text(YAML.replace("1s", "2s"))
    with pytest.raises(InputError, match="found other declarations") as err:
        merging.merge()
    assert f"({COMMIT})" in str(err.value.fix)


def test_dir_is_needed(merging: Merging) -> None:
    with pytest.raises(InputError, match="dir=: found none"):
        merging.merge(dir=())


def spoil(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["cells"][0].update({key: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoil("files", ["../secret"]), "found the file '../secret', expected one in .cells/0000"),
        (spoil("files", [".cells/1111111111111111/console.log"]), "expected one in .cells/0000"),
        (spoil("files", [".cells/0000000000000000/record.json"]), "expected one in .cells/0000"),
        (spoil("files", [".cells/0000000000000000/gone"]), "found no .cells/0000000000000000/gone"),
        (spoil("verdict", "fail"), "passed, skipped, inconclusive: found (True, False, False)"),
        (spoil("input_digest", "1" * 64), "input_digest: found '0000"),
    ],
)
def test_a_part_that_says_what_is_not_so_is_refused_before_anything_is_written(
    merging: Merging, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    (merging.shards[0].root.parent / "secret").write_text("x")
    merging.edit(1, change)
    with pytest.raises(InputError) as err:
        merging.merge()
    assert words in str(err.value)
    assert tree(merging.path / "target") == {} if (merging.path / "target").exists() else True


@pytest.mark.parametrize("name", ["record.json", "console.log"])
def test_a_file_of_the_store_that_is_a_link_is_refused(merging: Merging, tmp_path: Path, name: str) -> None:
    path = merging.shards[0].root / f".cells/{folder_name(digest_of(0))}/{name}"
    path.symlink_to(path.rename(tmp_path / "moved"))
    with pytest.raises(InputError, match="is a symbolic link, expected none"):
        merging.merge()


def test_a_damaged_record_and_that_of_another_cell_are_refused(merging: Merging) -> None:
    path = merging.shards[0].root / f".cells/{folder_name(digest_of(0))}/record.json"
    whole = path.read_text()
    path.write_text(whole.replace('"input_digest":"00', '"input_digest":"ff'))
    with pytest.raises(InputError, match="found the record of 'ff00"):
        merging.merge()
    path.write_text(whole[:100])
    with pytest.raises(InputError, match=r"record\.json"):
        merging.merge()


def test_a_sidecar_of_another_cell_or_commit_is_refused(merging: Merging) -> None:
    path = merging.shards[0].sidecar(0)
    was = read_sidecar(path)
    for field, value in (("seed", 7), ("project_commit", "fffffff"), ("test_name", "../../evil")):
        path.write_bytes(dump(replace(was, **{field: value})))
        with pytest.raises(InputError, match=f"{field}: found "):
            merging.merge()
