"""Every example of docs/ runs as it is written, and passes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.scenario_examples import OPS, PARTS
from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = pytest.mark.e2e
EXAMPLES = ROOT / "docs" / "examples"
KERNELS = {"default": "deb:forky/cloud-amd64"}


def merged(texts: list[str]) -> dict[str, Any]:
    """One ktstr.yaml of several."""
    whole: dict[str, Any] = {"kernels": KERNELS}
    for text in texts:
        for section, entries in yaml.safe_load(text).items():
            whole.setdefault(section, {}).update(entries)
    return whole


def verdicts(cells: list[dict[str, Any]]) -> dict[str, tuple[str, list[str]]]:
    """Of those that did not pass."""
    return {cell["name"]: (cell["verdict"], cell["reasons"]) for cell in cells if cell["verdict"] != "pass"}


def test_each_example_of_the_page_about_scenarios_passes(project: UserProject) -> None:
    whole = merged([*OPS.values(), *PARTS.values()])
    project.write(yaml.safe_dump(whole, sort_keys=False))
    code, report = project.test("test=*")
    assert not verdicts(report["cells"])
    assert code == 0
    ran = {cell["name"].split("/")[0].split(".")[0] for cell in report["cells"]}
    assert ran == set(whole["tests"])


def example(name: str, path: Path, lock: str) -> UserProject:
    shutil.copytree(EXAMPLES / name, path, dirs_exist_ok=True)
    return make_project(path, lock)


@pytest.mark.parametrize(("name", "cells"), [("three-lines", 1), ("steps", 1)])
def test_a_short_example_runs_as_it_is_written(name: str, cells: int, tmp_path: Path, lock: str) -> None:
    code, report = example(name, tmp_path, lock).test("test=*")
    assert not verdicts(report["cells"])
    assert (code, len(report["cells"])) == (0, cells)


@pytest.mark.parametrize(
    ("words", "cells"),
    [pytest.param(("seeds=0",), 20, id="one seed"), pytest.param((), 200, id="all", marks=pytest.mark.slow)],
)
def test_a_matrix_of_two_hundred_cells_runs_as_it_is_written(
    words: tuple[str, ...], cells: int, tmp_path: Path, lock: str
) -> None:
    code, report = example("matrix", tmp_path, lock).test(*words)
    assert not verdicts(report["cells"])
    assert (code, len(report["cells"])) == (0, cells)
