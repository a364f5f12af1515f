"""The C sources have a direction: what a file includes or calls never comes back to it, however far around.

A unit is all files of one folder with one stem, and has its path for a name. Who calls whom is what the linker would
resolve: the symbols that one object leaves undefined and another defines. The folders of the agent have an order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.c.objects import C_DIR, FLAGS, agent_objects, compiled, core_objects, run

Graph = Mapping[str, set[str]]
FOLDERS = ("core", "guest")
# The agent's folders, from the bottom up: a unit needs only units of its own folder and of those before it.
FLOORS = ("base", "wire", "watch", "measure", "work", "proc", "worker", "ops", "pid1")


def tree_files(folder: Path, pattern: str) -> list[Path]:
    """Those of a folder and of all folders in it."""
    return sorted(folder.rglob(pattern))


def unit(path: Path, folder: Path) -> str:
    """The unit of a file: its path in the folder without its suffix."""
    return str(path.relative_to(folder).with_suffix(""))


def headers(folder: Path) -> dict[str, set[str]]:
    """Which header includes which of the same folder, by their paths in it."""
    return {
        str(path.relative_to(folder)): {str(found.relative_to(folder)) for found in includes(path, folder)}
        for path in tree_files(folder, "*.h")
    }


def includes(path: Path, folder: Path) -> set[Path]:
    """The files of the folder that a file includes, looked for as the compiler does: beside it, then in the folder."""
    found = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    places = ([path.parent / name, folder / name] for name in found)
    named = (next((Path(os.path.normpath(place)) for place in both if place.is_file()), None) for both in places)
    return {place for place in named if place is not None and place.is_relative_to(folder)}


def units(folder: Path, objects: Mapping[Path, Path]) -> dict[str, set[str]]:
    """Which unit includes a header of which other, or calls a function or reads a variable of it."""
    graph: dict[str, set[str]] = {unit(path, folder): set() for path in tree_files(folder, "*.[ch]")}
    for path in tree_files(folder, "*.[ch]"):
        graph[unit(path, folder)] |= {unit(found, folder) for found in includes(path, folder)}
    defined, wanted = symbols(folder, objects)
    for name, missing in wanted.items():
        graph[name] |= {defined[symbol] for symbol in missing & defined.keys()}
    return {name: others - {name} for name, others in graph.items()}


def symbols(folder: Path, objects: Mapping[Path, Path]) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The unit that defines each global symbol, and the undefined ones of each unit."""
    defined: dict[str, str] = {}
    wanted: dict[str, set[str]] = {}
    for source, made in objects.items():
        rows = [line.split() for line in run(["nm", "--extern-only", "--format=posix", str(made)]).splitlines()]
        wanted[unit(source, folder)] = {name for name, kind, *_ in rows if kind == "U"}
        defined |= {name: unit(source, folder) for name, kind, *_ in rows if kind != "U"}
    return defined, wanted


def climbs(graph: Graph, floors: Sequence[str]) -> list[str]:
    """Where a unit needs one of a higher floor, as "low -> high"."""

    def floor(name: str) -> int:
        return floors.index(Path(name).parts[0])

    return sorted(f"{low} -> {high}" for low, others in graph.items() for high in others if floor(high) > floor(low))


def circle(graph: Graph) -> list[str]:
    """Nodes that lead back to the first, each needing the one before it; empty when there is a direction."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(err.args[1])
    return []


@pytest.mark.parametrize("folder", FOLDERS)
def test_headers_include_no_header_that_includes_them(folder: str) -> None:
    graph = headers(C_DIR / folder)
    assert len(graph) > 10
    assert circle(graph) == []


@pytest.fixture(scope="module")
def graphs(objects_place: Path) -> dict[str, dict[str, set[str]]]:
    made = {"core": core_objects, "guest": agent_objects}
    return {folder: units(C_DIR / folder, made[folder](objects_place, "gcc", *FLAGS)) for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_units_need_no_unit_that_needs_them(folder: str, graphs: dict[str, dict[str, set[str]]]) -> None:
    graph = graphs[folder]
    assert sum(map(len, graph.values())) > 2 * len(graph) > 40
    assert circle(graph) == []


def test_every_folder_of_the_agent_has_its_floor() -> None:
    assert {path.relative_to(C_DIR / "guest").parts[0] for path in tree_files(C_DIR / "guest", "*.[ch]")} == set(FLOORS)


def test_no_unit_of_the_agent_needs_one_of_a_higher_floor(graphs: dict[str, dict[str, set[str]]]) -> None:
    assert climbs(graphs["guest"], FLOORS) == []


def plant(folder: Path, texts: Mapping[str, str]) -> Path:
    """A tree with these files."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")
    return folder


def units_of(folder: Path) -> dict[str, set[str]]:
    """Those of a tree that is planted."""
    made = compiled(folder.with_name(f"{folder.name}-made"), "gcc", tree_files(folder, "*.c"), f"-I{folder}")
    return units(folder, made)


def test_a_call_and_an_include_that_climb_are_found(tmp_path: Path) -> None:
    """Files of one name in two folders are two units."""
    texts = {
        "base/x.c": "void two(void);\nvoid one(void) { two(); }\n",
        "base/y.h": '#include "ops/x.h"\n',
        "ops/x.h": "void two(void);\n",
        "ops/x.c": '#include "x.h"\nvoid one(void);\nvoid two(void) {}\nvoid three(void) { one(); }\n',
    }
    folder = plant(tmp_path / "planted", texts)
    graph = units_of(folder)
    assert graph == {"base/x": {"ops/x"}, "base/y": {"ops/x"}, "ops/x": {"base/x"}}
    assert climbs(graph, ("base", "ops")) == ["base/x -> ops/x", "base/y -> ops/x"]
    assert climbs(graph, ("ops", "base")) == ["ops/x -> base/x"]


def test_a_call_that_comes_back_is_found(tmp_path: Path) -> None:
    """By way of a third unit, and with no include at all."""
    files = {
        "a.c": "void b(void);\nvoid a(void) { b(); }\n",
        "b.c": "void c(void);\nvoid b(void) { c(); }\n",
        "c.c": "extern int a_state;\nvoid c(void) { a_state++; }\n",
        "d.c": "void a(void);\nvoid d(void) { a(); }\n",
    }
    straight = plant(tmp_path / "straight", files)
    assert units_of(straight) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a"}}
    assert circle(units_of(straight)) == []
    round_about = plant(tmp_path / "round", files | {"a.c": files["a.c"] + "int a_state;\n"})
    assert sorted(set(circle(units_of(round_about)))) == ["a", "b", "c"]


def test_a_call_against_an_include_is_found(tmp_path: Path) -> None:
    """The lower unit calls what the higher one defines, as with one header for both."""
    files = {
        "high.h": "void high(void);\nvoid low(void);\n",
        "high.c": '#include "high.h"\nvoid high(void) { low(); }\n',
        "low.c": '#include "high.h"\nvoid low(void) {}\n',
    }
    folder = plant(tmp_path / "planted", files)
    assert circle(headers(folder)) == []
    assert sorted(set(circle(units_of(folder)))) == ["high", "low"]


def test_headers_that_include_each_other_are_found(tmp_path: Path) -> None:
    files = {
        "a.h": '#pragma once\n#include "b.h"\n',
        "b.h": '#pragma once\n #  include "a.h"\n',
        "c.h": '#include "a.h"\n',
    }
    assert sorted(set(circle(headers(plant(tmp_path / "planted", files))))) == ["a.h", "b.h"]


def test_what_does_not_compile_is_not_taken_for_a_direction(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="gcc ended 1"):
        units_of(plant(tmp_path / "planted", {"a.c": "void a(void) { b(; }\n"}))
