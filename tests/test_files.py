from __future__ import annotations

import os
from pathlib import Path

import pytest

from ktstr.errors import HostError, InputError
from ktstr.files import read_json, staging_name, write_atomic


def test_a_file_is_replaced_whole_and_its_staging_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    write_atomic(path, b"one", "tmp.1.2")
    write_atomic(path, b"two", "tmp.1.2")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_an_interrupted_write_leaves_the_old_file_and_no_staging_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, b"one", "tmp")

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"two", "tmp")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_an_unwritable_place_is_a_host_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(HostError, match=r"f/x\.json: cannot be written"):
        write_atomic(tmp_path / "f" / "x.json", b"", "tmp")


def test_staging_names_carry_process_and_run() -> None:
    assert staging_name("20250102T030405Z-0") == f"tmp.{os.getpid()}.20250102T030405Z-0"


def test_an_error_in_json_names_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{\n "a": ,\n}')
    with pytest.raises(InputError, match=r"x\.json:2:7: is no JSON"):
        read_json(path, 1000)


def test_the_cap_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a":1}')
    assert read_json(path, 7) == {"a": 1}
    with pytest.raises(InputError, match="more than 6 bytes"):
        read_json(path, 6)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"b": [{"x": {"a": null, "c": 1, "a": 2}}]}'])
def test_a_key_that_is_there_twice_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json: .*found the key 'a' twice in one object, expected it once"):
        read_json(path, 1000)


def test_the_same_key_in_two_objects_is_no_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": {"a": 1}, "b": {"a": 2}}')
    assert read_json(path, 1000) == {"a": {"a": 1}, "b": {"a": 2}}
