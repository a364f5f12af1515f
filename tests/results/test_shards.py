"""Parts of runs: written, found, and read as what strangers wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from ktstr import options
from ktstr.errors import HostError, InputError
from ktstr.results import shards
from ktstr.results.joined import joined
from ktstr.results.shards import inside, parts_in
from tests.results.parts import Shard, copy_of, make_project, three

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parts(tmp_path: Path) -> list[Shard]:
    """Three shards of one run in ``parts/1`` to ``parts/3``."""
    found = three(make_project(tmp_path / "project"), tmp_path / "parts")
    for one in found:
        one.write()
    return found


def read(*folders: Path) -> list[shards.Found]:
    return [found for folder in folders for found in parts_in(folder, folder.name)]


def test_what_is_written_is_of_the_schema(parts: list[Shard]) -> None:
    schema = json.loads((ROOT / "schemas/shard_part.schema.json").read_text())
    for one in parts:
        jsonschema.validate(json.loads(shards.part_path(one.root, one.part).read_text()), schema)


def test_a_folder_that_holds_them_is_as_good_as_each(parts: list[Shard], tmp_path: Path) -> None:
    assert [one.shown for one in parts_in(tmp_path / "parts", "parts")] == ["parts/1", "parts/2", "parts/3"]
    assert len(parts_in(tmp_path, "all")) == 3  # two levels above
    (tmp_path / "deep/a/b").mkdir(parents=True)
    copy_of(parts[0], tmp_path / "deep/a/b/target/ktstr")
    assert [one.shown for one in parts_in(tmp_path / "deep", "deep")] == ["deep/a/b/target/ktstr"]


def test_a_folder_without_a_part_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="dir=empty: found no part of a run") as err:
        parts_in(tmp_path / "empty", "empty")
    assert err.value.fix is not None and "hidden files included" in err.value.fix
    with pytest.raises(InputError, match="dir=gone: found no folder"):
        parts_in(tmp_path / "gone", "gone")


def spoil(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({key: value})


def spoil_cell(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["cells"][0].update({key: value})


def spoil_whole(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["whole"].update({key: value})


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (spoil("version", 2), "found a part of version 2, expected 1"),
        (spoil("version", True), "found a part of version True, expected 1"),
        (spoil("more", 1), "more: unknown field"),
        (spoil("index", 0), "index: found 0, expected"),
        (spoil("index", 2), "found shard 2/3 in it, expected its name to say so"),
        (spoil_cell("place", -1), "place"),
        (spoil_cell("verdict", "fine"), "verdict"),
        (spoil_cell("verdict", "skip"), "verdict: found 'skip' of a cell"),
        (spoil_cell("input_digest", None), "input_digest: found none"),
        (spoil_cell("name", "other"), "name: found 'other'"),
        (spoil_cell("reasons", ["\x1b[2J"]), "expected text that can be printed"),
        (spoil_cell("reasons", ["gap \u202e1"]), "expected text that can be printed"),
        (spoil_cell("reasons", ["x" * (2 << 20)]), "reasons"),
        (spoil_cell("input_digest", "../../etc"), "input_digest"),
        (spoil_cell("seconds", -1.0), "seconds"),
        (spoil_cell("files", [".cells/\x1b[2J"]), "expected one line that can be printed"),
        (spoil_cell("files", ["a", "a"]), "files: found a name twice"),
        (spoil_cell("place", 10_000_000), "place"),
        (spoil_cell("test", "two\nlines"), "expected one line that can be printed"),
        (spoil_cell("error", {"message": "x", "fix": None, "exit_code": 2}), "error: found one beside the verdict"),
        (spoil_whole("cells", 1_000_000_000), "whole.cells"),
        (spoil_whole("asked", {"MAKEFLAGS": "x"}), "asked: found 'MAKEFLAGS', expected one of CC, LLVM"),
        (spoil_whole("asked", {"CC": "a\nb"}), "expected one line that can be printed"),
    ],
)
def test_a_part_is_read_as_what_a_stranger_wrote(
    parts: list[Shard], edit: Callable[[dict[str, Any]], None], words: str
) -> None:
    parts[0].write(edit)
    with pytest.raises(InputError) as err:
        parts_in(parts[0].root, "1")
    assert words in str(err.value) and "1-of-3.json" in str(err.value)
    assert str(err.value).isprintable() or "\x1b" not in str(err.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "NaN", '{"version": 1, "version": 1}', "[" * 100_000])
def test_damaged_json_is_refused(parts: list[Shard], text: str) -> None:
    shards.part_path(parts[0].root, parts[0].part).write_text(text)
    with pytest.raises(InputError, match=r"1-of-3\.json"):
        parts_in(parts[0].root, "1")


def test_one_that_is_too_large_is_refused(parts: list[Shard], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIDECAR_CAP", 100)
    with pytest.raises(InputError, match="found more than 100 bytes"):
        parts_in(parts[0].root, "1")


def test_links_are_not_followed(parts: list[Shard], tmp_path: Path) -> None:
    path = shards.part_path(parts[0].root, parts[0].part)
    moved = path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(moved)
    with pytest.raises(InputError, match="found no regular file"):
        parts_in(parts[0].root, "1")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / ".shards").symlink_to(parts[1].root / ".shards")
    (linked / "below").symlink_to(parts[1].root)
    with pytest.raises(InputError, match="found no part of a run"):
        parts_in(linked, "linked")


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "../out", "a/../../out", "a//b", "./a", "a\0b", "link/x", "a"])
def test_no_path_leaves_its_folder(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    (tmp_path / "x").touch()
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match=r"^part: ") as err:
        inside(root, relative, "part")
    assert err.value.fix


def test_a_path_inside_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").touch()
    assert inside(tmp_path, "a/b", "part") == tmp_path / "a/b"


def test_a_part_removes_those_of_other_runs_and_keeps_its_siblings(parts: list[Shard]) -> None:
    root = parts[0].root
    Shard(root, parts[1].part).write()
    Shard(root, replace(parts[1].part, of=9, index=9, cells=())).write()  # of another run: it clears the others
    assert sorted(path.name for path in (root / ".shards").iterdir()) == ["9-of-9", "9-of-9.json"]
    for one in parts:
        Shard(root, one.part).write()
    assert sorted(path.name for path in (root / ".shards").glob("*.json")) == [f"{i}-of-3.json" for i in (1, 2, 3)]
    assert len(joined(parts_in(root, "root"))) == 3


def test_a_scheduler_that_cannot_be_had_says_why(parts: list[Shard]) -> None:
    parts[0].write(lambda document: document["cells"][1].update({"error": None}))
    with pytest.raises(InputError, match="error: found none, expected why its scheduler could not be had"):
        parts_in(parts[0].root, "1")


def test_more_folders_than_are_looked_into_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_FOLDERS", 3)
    for name in "abcd":
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="found more than 3 folders in it"):
        parts_in(tmp_path, "all")


def test_a_folder_of_parts_that_cannot_be_read_is_no_folder_without_parts(parts: list[Shard]) -> None:
    (parts[0].root / ".shards").chmod(0o300)
    look = "import pathlib, sys; from ktstr.results import shards; shards.parts_in(pathlib.Path(sys.argv[1]), '1')"
    may_not = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    words = [*may_not, sys.executable, "-c", look, parts[0].root]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "InputError" in done.stderr and ".shards: cannot be read" in done.stderr


def test_a_part_that_cannot_be_written_or_removed_is_the_hosts_fault(parts: list[Shard], tmp_path: Path) -> None:
    root = tmp_path / "other"
    root.mkdir()
    (root / ".shards").touch()
    with pytest.raises(HostError, match=r"\.shards/1-of-3"):
        Shard(root, parts[0].part).write()
    path = shards.part_path(parts[0].root, parts[0].part)
    path.unlink()
    path.mkdir()
    with pytest.raises(HostError, match="cannot be removed"):
        shards.remove_part(parts[0].root, options.Shard(1, 3))
