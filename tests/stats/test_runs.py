from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ktstr.errors import HostError
from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import dump
from ktstr.stats.runs import RunRow, list_runs, to_json, to_text
from tests.results.cells import sidecar

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/stats_list.schema.json").read_text())


def make_run(root: Path, name: str, mtime: int, **sidecars: Sidecar) -> None:
    for path, whole in sidecars.items():
        target = root / name / (path.replace("__", "/") + ".ktstr.json")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(dump(whole))
    (root / name).mkdir(parents=True, exist_ok=True)
    os.utime(root / name, (mtime, mtime))


def test_runs_are_listed_newest_first_with_tests_date_and_arch(tmp_path: Path) -> None:
    late, early = sidecar(timestamp="2025-03-01T00:00:00Z"), sidecar(timestamp="2025-02-01T00:00:00Z", host=None)
    make_run(tmp_path, "7.2-aaa", 100, a=late, **{"icount-s0__b": early, "icount-s0__deep__c": late})
    make_run(tmp_path, "7.2-bbb", 200)
    make_run(tmp_path, "7.2-ccc", 100, a=early)
    make_run(tmp_path, ".cells", 300, a=late)
    (tmp_path / "file").write_text("")
    assert list_runs(tmp_path) == [
        RunRow("7.2-bbb", 0, None, None, 0),
        RunRow("7.2-aaa", 2, "2025-02-01T00:00:00Z", "x86_64", 0),
        RunRow("7.2-ccc", 1, "2025-02-01T00:00:00Z", None, 0),
    ]


def test_files_that_are_no_sidecars_are_counted_apart_and_do_no_harm(tmp_path: Path) -> None:
    make_run(tmp_path, "r", 1, a=sidecar())
    (tmp_path / "r" / "b.ktstr.json").write_bytes(b"\x00[[[")
    (tmp_path / "r" / "c.ktstr.json").write_text('{"timestamp": 5, "host": [], "x": ')
    rows = list_runs(tmp_path)
    assert [(r.tests, r.unreadable) for r in rows] == [(1, 2)]
    assert "r: 2 file(s) named as sidecars cannot be read" in to_text(rows)


def test_odd_values_count_as_unknown(tmp_path: Path) -> None:
    make_run(tmp_path, "r", 1)
    (tmp_path / "r" / "a.ktstr.json").write_text('{"timestamp": 5, "host": ["x"]}')
    assert list_runs(tmp_path) == [RunRow("r", 1, None, None, 0)]


def test_no_root_and_no_run_say_so(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []
    assert to_text([]).startswith("no runs found")
    assert json.loads(to_json([])) == []


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(HostError, match="cannot be listed"):
        list_runs(tmp_path / "f")


def test_text_is_a_table_and_json_is_valid() -> None:
    rows = [RunRow("7.2-aaa", 12, "2025-02-01T00:00:00Z", "x86_64", 0), RunRow("k\x1b-b", 0, None, None, 0)]
    lines = to_text(rows).splitlines()
    assert lines[0].split() == ["RUN", "TESTS", "DATE", "ARCH"]
    assert lines[1].split() == ["7.2-aaa", "12", "2025-02-01T00:00:00Z", "x86_64"]
    assert lines[2].split() == ["k?-b", "0", "-", "-"]
    Draft202012Validator(SCHEMA).validate(json.loads(to_json(rows)))
