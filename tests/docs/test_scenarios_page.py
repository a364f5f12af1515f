"""docs/scenarios.md is made of the tables and examples, which are whole: each op has one that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config import scenario_fields
from ktstr.config.load import load
from tests.docs import scenarios_page
from tests.docs.scenario_examples import OPS, PARTS, TOGETHER


def test_the_page_is_the_one_made_from_the_tables() -> None:
    assert scenarios_page.PAGE.read_text(encoding="utf-8") == scenarios_page.render()


def test_each_op_has_an_example_that_does_it() -> None:
    assert {*OPS, *TOGETHER} == set(scenario_fields.OPS)
    for op in scenario_fields.OPS:
        assert f"{{op: {op}, " in OPS[TOGETHER.get(op, op)]


@pytest.mark.parametrize("name", [*OPS, *PARTS])
def test_an_example_is_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ktstr.yaml"
    path.write_text((OPS | PARTS)[name], encoding="utf-8")
    assert load(path).tests


def test_the_examples_have_the_sizes_that_they_are_known_by() -> None:
    lines = {
        folder.name: len((folder / "ktstr.yaml").read_text(encoding="utf-8").splitlines())
        for folder in scenarios_page.EXAMPLES.iterdir()
    }
    assert lines == {"three-lines": 3, "steps": 30, "matrix": 15}
