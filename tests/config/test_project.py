"""Finding the project: the nearest folder upwards with a dodo.py of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.project import find_project, find_root, runs_root
from ktstr.errors import InputError

OURS = "from ktstr.tasks.graph import *\n"


def test_root_is_found_from_a_sub_directory(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text(OURS)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_root(deep) == tmp_path


def test_nearer_foreign_dodo_is_somebody_elses_project(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text(OURS)
    inner = tmp_path / "other"
    inner.mkdir()
    (inner / "dodo.py").write_text("def task_x(): return {'actions': []}\n")
    assert find_root(inner) is None


def test_no_project_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no dodo\.py") as caught:
        find_project(tmp_path, {})
    assert caught.value.fix == "ktstr init"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "target/ktstr"),
        ({"CARGO_TARGET_DIR": "out"}, "out/ktstr"),
        ({"CARGO_TARGET_DIR": ""}, "target/ktstr"),
        ({"KTSTR_RUNS_ROOT": "runs", "CARGO_TARGET_DIR": "out"}, "runs"),
    ],
)
def test_runs_root_precedence(tmp_path: Path, environ: dict[str, str], expected: str) -> None:
    assert runs_root(tmp_path, environ) == tmp_path / expected


def test_absolute_runs_root_stands_as_it_is(tmp_path: Path) -> None:
    assert runs_root(tmp_path, {"KTSTR_RUNS_ROOT": "/elsewhere"}) == Path("/elsewhere")
