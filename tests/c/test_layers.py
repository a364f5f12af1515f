"""The C sources have a direction: what a file includes or calls never comes back to it, however far around.

A unit is all files with one stem. Who calls whom is what the linker would resolve: the symbols that one object
leaves undefined and another defines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.c.test_c import C_DIR, run

Graph = Mapping[str, set[str]]
FOLDERS = ("core", "guest")


def headers(folder: Path) -> dict[str, set[str]]:
    """Which header includes which of the same folder."""
    return {path.name: includes(path, folder) for path in folder.glob("*.h")}


def includes(path: Path, folder: Path) -> set[str]:
    found = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    return {name for name in found if (folder / name).is_file()}


def units(folder: Path, work: Path) -> dict[str, set[str]]:
    """Which unit includes a header of which other, or calls a function or reads a variable of it."""
    graph: dict[str, set[str]] = {path.stem: set() for path in folder.glob("*.[ch]")}
    for path in folder.glob("*.[ch]"):
        graph[path.stem] |= {Path(name).stem for name in includes(path, folder)}
    defined, wanted = symbols(folder, work)
    for unit, names in wanted.items():
        graph[unit] |= {defined[name] for name in names & defined.keys()}
    return {unit: others - {unit} for unit, others in graph.items()}


def symbols(folder: Path, work: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The unit that defines each global symbol, and the undefined ones of each unit."""
    sources = sorted(folder.glob("*.c"))
    objects = [work / f"{source.stem}.o" for source in sources]
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O0", f"-I{C_DIR / 'include'}", "-c"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda source, made: run([*command, str(source), "-o", str(made)]), sources, objects))
    defined: dict[str, str] = {}
    wanted: dict[str, set[str]] = {}
    for made in objects:
        rows = [line.split() for line in run(["nm", "--extern-only", "--format=posix", str(made)]).splitlines()]
        wanted[made.stem] = {name for name, kind, *_ in rows if kind == "U"}
        defined |= {name: made.stem for name, kind, *_ in rows if kind != "U"}
    return defined, wanted


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


@pytest.mark.parametrize("folder", FOLDERS)
def test_units_need_no_unit_that_needs_them(folder: str, tmp_path: Path) -> None:
    graph = units(C_DIR / folder, tmp_path)
    assert sum(map(len, graph.values())) > 2 * len(graph) > 40
    assert circle(graph) == []


def plant(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    return folder


def test_a_call_that_comes_back_is_found(tmp_path: Path) -> None:
    """By way of a third unit, and with no include at all."""
    files = {
        "a.c": "void b(void);\nvoid a(void) { b(); }\n",
        "b.c": "void c(void);\nvoid b(void) { c(); }\n",
        "c.c": "extern int a_state;\nvoid c(void) { a_state++; }\n",
        "d.c": "void a(void);\nvoid d(void) { a(); }\n",
    }
    straight = plant(tmp_path / "straight", files)
    assert units(straight, tmp_path) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a"}}
    assert circle(units(straight, tmp_path)) == []
    round_about = plant(tmp_path / "round", files | {"a.c": files["a.c"] + "int a_state;\n"})
    assert sorted(set(circle(units(round_about, tmp_path)))) == ["a", "b", "c"]


def test_a_call_against_an_include_is_found(tmp_path: Path) -> None:
    """The lower unit calls what the higher one defines, as with one header for both."""
    files = {
        "high.h": "void high(void);\nvoid low(void);\n",
        "high.c": '#include "high.h"\nvoid high(void) { low(); }\n',
        "low.c": '#include "high.h"\nvoid low(void) {}\n',
    }
    folder = plant(tmp_path / "planted", files)
    assert circle(headers(folder)) == []
    assert sorted(set(circle(units(folder, tmp_path)))) == ["high", "low"]


def test_headers_that_include_each_other_are_found(tmp_path: Path) -> None:
    files = {
        "a.h": '#pragma once\n#include "b.h"\n',
        "b.h": '#pragma once\n #  include "a.h"\n',
        "c.h": '#include "a.h"\n',
    }
    assert sorted(set(circle(headers(plant(tmp_path / "planted", files))))) == ["a.h", "b.h"]


def test_what_does_not_compile_is_not_taken_for_a_direction(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="gcc ended 1"):
        units(plant(tmp_path / "planted", {"a.c": "void a(void) { b(; }\n"}), tmp_path)
