"""doit's database is a cache: a damaged file counts as empty and a write replaces it whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from doit.dependency import JSONCodec  # type: ignore[import-untyped]

from ktstr.tasks.statedb import StateDB


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": '])
def test_damaged_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    path = tmp_path / "db.json"
    path.write_text(content)
    assert StateDB(str(path), JSONCodec()).get("task", "key") is None


def test_what_was_dumped_is_read_back_and_no_temporary_stays(tmp_path: Path) -> None:
    path = tmp_path / "db.json"
    db = StateDB(str(path), JSONCodec())
    db.set("task", "key", [1, 2])
    db.dump()
    assert StateDB(str(path), JSONCodec()).get("task", "key") == [1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["db.json"]


def test_unwritable_folder_costs_only_the_cache(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "gone" / "db.json"), JSONCodec())
    db.set("task", "key", 1)
    db.dump()
    assert not (tmp_path / "gone").exists()
