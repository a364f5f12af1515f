"""``doit merge`` into the store: what was measured twice, what is there already, what has no room, what does harm."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from ktstr.cancel import Cancel, Cancelled
from ktstr.cells.adopt import adopt
from ktstr.cells.merged import take
from ktstr.commands.merge import COMMAND, Options
from ktstr.config.validated import load_config
from ktstr.errors import HostError, InputError
from ktstr.files import RECORD_CAP, SIDECAR_CAP
from ktstr.record.part import selection_digest
from ktstr.results.joined import joined
from ktstr.results.ledger import ExitRules, Ledger
from ktstr.results.shards import parts_in
from ktstr.results.store import ERRORS, folder_name, load_record
from ktstr.tasks.invoke import Asked
from tests.commands.test_merge import Merging, tree
from tests.results.parts import NAMES, SKIPPED, Shard, digest_of, make_project, name_of, place_of, three
from tests.results.test_failure_dumps import written

SHARED = f".cells/{folder_name(digest_of(0))}"


@pytest.fixture
def merging(tmp_path: Path) -> Merging:
    path = make_project(tmp_path / "project")
    shards = three(path, tmp_path / "parts")
    for one in shards:
        one.write()
    return Merging(path, shards, Ledger())


def with_dump(one: Shard, folder: str, name: str) -> str:
    """A failure dump, as one of a test of this name, in a cell's folder; gives its path in the shard's."""
    for file in written(one.root / "new"):
        end = file.rpartition(".failure-dump")[2]
        Path(file).rename(one.root / folder / f"{name}.failure-dump{end}")
    (one.root / "new").rmdir()
    return f"{folder}/{name}.failure-dump.json"


def measured_twice(merging: Merging) -> list[Shard]:
    """The second shard's first cell has the inputs of the first shard's, and was measured on its own. Both have a dump,
    which is named after the test."""
    first, second, third = merging.shards
    record = second.root / f".cells/{folder_name(digest_of(1))}/record.json"
    record.parent.rename(second.root / SHARED)
    record = second.root / SHARED / "record.json"
    record.write_text(
        record.read_text().replace(digest_of(1), digest_of(0)).replace('"sched_log":""', '"sched_log":"again"')
    )
    assert record.stat().st_size != (first.root / SHARED / "record.json").stat().st_size
    dumps = [with_dump(one, SHARED, f"steady-{at}") for at, one in enumerate((first, second))]
    first = first.with_cell(0, files=(dumps[0], *first.part.cells[0].files))
    second = second.with_cell(0, input_digest=digest_of(0), files=(dumps[1], f"{SHARED}/console.log"))
    for one in (first, second):
        one.write()
    return [first, second, third]


def test_tests_of_one_digest_that_two_shards_measured_have_one_folder_with_the_files_of_both(merging: Merging) -> None:
    first, second, _ = measured_twice(merging)
    report = merging.merge(json=True)
    runs = merging.path / "target/ktstr"
    assert merging.ledger.failures == {}
    assert load_record(runs / SHARED / "record.json") == load_record(first.root / SHARED / "record.json")
    dumps = {"steady-0.failure-dump.json", "steady-1.failure-dump.json"}
    assert {path.name for path in (runs / SHARED).iterdir()} == {"console.log", "record.json", "sidecar.json", *dumps}
    for one in (first, second):
        published = runs / place_of(one.part.cells[0])
        assert published.read_bytes() == one.sidecar(0).read_bytes()
        assert published.with_name(published.name.replace(".ktstr.json", ".failure-dump.json")).exists()
    files = tree(runs)
    assert merging.merge(json=True) == report and tree(runs) == files


def test_the_folder_of_a_part_in_the_project_itself_is_never_replaced(merging: Merging) -> None:
    """It is the second's: the first's record does not take its place."""
    _, second, _ = measured_twice(merging)
    runs = merging.path / "target/ktstr"
    shutil.copytree(second.root, runs)
    before = tree(runs / SHARED)
    merging.merge(dir=(str(merging.shards[0].root), "target/ktstr", str(merging.shards[2].root)))
    after = tree(runs / SHARED)
    assert before.items() <= after.items() and after.keys() - before.keys() == {"steady-0.failure-dump.json"}
    assert merging.ledger.failures == {}


def test_what_an_error_left_in_the_project_itself_stays_where_another_shard_has_a_result(merging: Merging) -> None:
    """Both have the same inputs."""
    _, second, third = merging.shards
    runs = merging.path / "target/ktstr"
    folder = f".cells/{ERRORS}/{folder_name(digest_of(1))}"
    (third.root / f".cells/{ERRORS}/{folder_name(digest_of(2))}").rename(third.root / folder)
    third.with_cell(0, input_digest=digest_of(1), files=(f"{folder}/console.log",)).write()
    shutil.copytree(third.root, runs)
    merging.merge(dir=(str(merging.shards[0].root), str(second.root), "target/ktstr"))
    assert (runs / folder / "console.log").read_text() == "lost\n"
    assert (runs / f".cells/{folder_name(digest_of(1))}/record.json").exists()


def test_errors_of_an_earlier_run_are_replaced_though_they_are_as_long(merging: Merging) -> None:
    merging.merge()
    path = merging.path / f"target/ktstr/.cells/{ERRORS}/{folder_name(digest_of(2))}/console.log"
    path.write_text("LOST\n")
    merging.merge()
    assert path.read_text() == "lost\n"


def test_two_presets_of_one_topology_merge_again_to_the_same_in_place(tmp_path: Path) -> None:
    """Their sidecars have one name: the other preset's takes the place of the one that was published first."""
    twin = name_of(0, "twin")
    names = [NAMES[0], twin, *NAMES[2:]]
    path = make_project(tmp_path / "project")
    shards = three(path, tmp_path / "parts", selection=selection_digest(names, SKIPPED))
    shards[1] = shards[1].with_cell(0, preset="twin", seed=0, name=twin)
    for one in shards:
        one.write()
    assert place_of(shards[0].part.cells[0]) == place_of(shards[1].part.cells[0])
    merging = Merging(path, shards, Ledger())
    shutil.copytree(shards[1].root, path / "target/ktstr")
    dirs = (str(shards[0].root), "target/ktstr", str(shards[2].root))
    report = merging.merge(dir=dirs, json=True)
    assert "icount-s0-11111111/" in report.text
    assert merging.merge(dir=dirs, json=True) == report


def test_a_view_that_cannot_be_filled_costs_an_exit_code_and_not_the_report(merging: Merging) -> None:
    runs = merging.path / "target/ktstr"
    runs.mkdir(parents=True)
    (runs / Path(place_of(merging.shards[0].part.cells[0])).parts[0]).write_text("in the way")
    report = merging.merge()
    assert "7 cells: 1 passed, 1 failed, 2 skipped, 2 in error, 1 not run" in report.text
    assert "cannot be filled" in str(merging.ledger.failures["merge"])


@pytest.mark.parametrize(("name", "cap"), [("x.failure-dump.txt", SIDECAR_CAP), ("sched.log", RECORD_CAP)])
def test_a_file_that_is_larger_than_a_run_leaves_it_is_refused(merging: Merging, name: str, cap: int) -> None:
    first = merging.shards[0]
    (first.root / SHARED / name).touch()
    os.truncate(first.root / SHARED / name, cap + 1)  # sparse
    first.with_cell(0, files=(f"{SHARED}/{name}",)).write()
    with pytest.raises(InputError, match=f"found more than {cap} bytes"):
        merging.merge()


def test_more_than_there_is_room_for_is_refused_before_anything_is_written(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(HostError, match=r"target/ktstr: found 10 bytes free, expected \d+") as err:
        merging.merge()
    assert "KTSTR_RUNS_ROOT" in str(err.value.fix)
    assert not (merging.path / "target/ktstr/.cells").exists()


def test_what_there_is_already_takes_no_room(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    first = merging.merge(json=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert merging.merge(json=True) == first


class Third(Cancel):
    """Set once it was looked at three times."""

    looks = 0

    def check(self) -> None:
        self.looks += 1
        if self.looks > 3:
            raise Cancelled


def test_a_merge_is_interrupted_within_a_file_and_leaves_no_half_of_it(merging: Merging) -> None:
    project = merging.invocation.project
    os.truncate(merging.shards[0].root / SHARED / "console.log", 8 << 20)
    found = joined([part for one in merging.shards for part in parts_in(one.root, one.root.name)])
    taken = take(project, load_config(project), found, Cancel())
    with pytest.raises(Cancelled):
        adopt(project, taken, Third())
    assert [path for path in project.cells.rglob("*") if not path.name.startswith(".")] == []


def test_digests_that_begin_alike_are_refused(merging: Merging) -> None:
    """A folder has the first 16 digits: one would take the place of the other."""
    second = merging.shards[1]
    alike = digest_of(0)[:16] + "f" * 48
    folder = second.root / f".cells/{folder_name(digest_of(1))}"
    folder.rename(second.root / SHARED)
    record = second.root / SHARED / "record.json"
    record.write_text(record.read_text().replace(digest_of(1), alike))
    second.with_cell(0, input_digest=alike, files=(f"{SHARED}/console.log",)).write()
    with pytest.raises(InputError, match="found an input_digest that begins as that of another cell"):
        merging.merge()


def test_cells_that_did_not_run_for_no_reason_cost_an_exit_code(merging: Merging) -> None:
    """The second shard's failed cell became a pass: nothing says why its other one did not run."""
    second = merging.shards[1].with_cell(0, verdict="pass", reasons=())
    second.write()
    merging.merge()
    assert merging.ledger.failures["shard 2/3"].message == "does not say why it ended: 1 of its 3 cells did not run"
    assert merging.ledger.failures["shard 2/3"].exit_code == 3


def test_parts_of_which_nothing_was_selected_are_no_run(merging: Merging) -> None:
    for one in merging.shards:
        one.with_part(cells=(), whole=replace(one.part.whole, narrowed="failed=1")).write()
    with pytest.raises(InputError, match="nothing was selected: failed=1 leaves none of 5 cells in"):
        merging.merge()


def test_a_part_without_cells_is_one_among_others(merging: Merging) -> None:
    for one in merging.shards:
        one.with_part(whole=replace(one.part.whole, narrowed="failed=1")).write()
    empty = merging.shards[2]
    empty.with_part(cells=(), whole=replace(empty.part.whole, narrowed="failed=1")).write()
    cells = json.loads(merging.merge(json=True).text)["cells"]
    assert [cell["name"] for cell in cells] == [NAMES[0], NAMES[1], NAMES[4], NAMES[3], *SKIPPED]


@pytest.mark.parametrize("given", [{"CC": "/tmp/cc"}, {"LLVM": "-19"}, {"kconfig": "x"}, {"scheduler": "./scx_x"}])
def test_no_replay_runs_or_builds_what_a_part_names(merging: Merging, given: dict[str, str]) -> None:
    for one in merging.shards:
        one.with_part(whole=replace(one.part.whole, asked=given)).write()
    merging.merge()
    assert not (merging.path / "target/ktstr/.state/failed.json").exists()


def test_no_replay_boots_a_kernel_that_only_a_part_names(merging: Merging) -> None:
    merging.shards[1].with_cell(0, kernel_word="/tmp/evil/bzImage").write()
    merging.merge()
    kept = json.loads((merging.path / "target/ktstr/.state/failed.json").read_text())["cells"]
    assert set(kept) == {NAMES[2], NAMES[3]}


def test_what_files_and_folders_are_called_does_nothing_to_a_terminal(merging: Merging, tmp_path: Path) -> None:
    folder = tmp_path / "a\x1b[2Jb"
    merging.shards[0].root.rename(folder)
    with pytest.raises(InputError, match="shard 3/3 is missing") as err:
        merging.merge(dir=(str(folder), str(merging.shards[1].root)))
    assert "\x1b" not in str(err.value) and "a?[2Jb" in str(err.value)
    (folder / SHARED / "record.json").write_text("{")
    with pytest.raises(InputError, match=r"record\.json") as err:
        merging.merge(dir=(str(folder), *(str(one.root) for one in merging.shards[1:])))
    assert "\x1b" not in str(err.value)


@pytest.mark.parametrize("given", ["~no-such-user/x", "round"])
def test_a_folder_that_leads_nowhere_is_refused_by_its_name(merging: Merging, given: str) -> None:
    (merging.path / "round").symlink_to("round")
    with pytest.raises(InputError, match=f"dir={given}: (leads nowhere|found no folder)"):
        merging.merge(dir=(given,))


def test_its_exit_rules_are_its_own_without_a_plan() -> None:
    assert COMMAND.plan is None
    asked = Asked(("merge",), ("merge",), (COMMAND,), {"merge": Options(allow_inconclusive=True, no_skip=True)})
    assert asked.rules == ExitRules(allow_inconclusive=True, no_skip=True)
