from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.problems import Problem, error
from ktstr.config.reader import Reader
from ktstr.config.yaml_lines import Node, read


def reader() -> Reader:
    return Reader("ktstr.yaml", Path("/p/project"))


def node(file: str) -> Node:
    root = read(b"a: {b: 1}\n", file)
    assert isinstance(root.value, dict)
    child: Node = root.value["a"]
    return child


@pytest.mark.parametrize(
    ("file", "folder"),
    [("ktstr.yaml", "/p/project"), ("", "/p/project"), ("more/a.yaml", "/p/project/more"), ("../b.yaml", "/p")],
)
def test_paths_begin_in_the_folder_of_the_file_that_has_them(file: str, folder: str) -> None:
    assert reader().folder(node(file)) == Path(folder)


def test_places_name_the_file_that_they_are_in() -> None:
    assert reader().where(node("ktstr.yaml")) == "ktstr.yaml:1:4"
    assert reader().place(node("more/a.yaml"), "tests.t") == "more/a.yaml:1:4 tests.t"


def test_problems_of_the_main_file_come_first_and_each_names_its_own() -> None:
    r = reader()
    r.wrong(node("a.yaml"), "x", "y")
    r.wrong_key(node("a.yaml"), "b", "x.b", "y")
    r.wrong(node("ktstr.yaml"), "z", "y")
    assert str(error("ktstr.yaml", r.problems)).splitlines() == [
        "ktstr.yaml:1:4 z: found a mapping, expected y",
        "a.yaml:1:4 x: found a mapping, expected y",
        "a.yaml:1:5 x.b: found 'b', expected y",
    ]
    assert r.problems[-1] == Problem(1, 4, "z", "a mapping", "y")
