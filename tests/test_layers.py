"""The floors of the house: what pyproject.toml declares holds, and a wrong import on any floor is caught."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
LINT = Path(sys.executable).with_name("lint-imports")
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def floors() -> list[list[str]]:
    """The modules of each floor that is there, from the top down."""
    (layers,) = (contract["layers"] for contract in DECLARED["contracts"] if contract["type"] == "layers")
    named = [re.split(r" [|:] ", layer) for layer in layers if not layer.startswith("(")]
    assert len(named) > 10
    return named


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy whose imports a test may spoil."""
    shutil.copytree(ROOT / "ktstr", tmp_path / "ktstr", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(house: Path, room: str, line: str) -> str:
    """Add a line of its own to a room; gives the module it is in."""
    folder = house / "ktstr" / room
    if folder.is_dir():
        (folder / "planted.py").write_text(line + "\n", encoding="utf-8")
        return f"ktstr.{room}.planted"
    with folder.with_suffix(".py").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    return f"ktstr.{room}"


def test_every_floor_imports_only_what_is_below_it_and_nothing_is_a_circle() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_an_import_from_the_floor_above_is_caught_on_every_floor(house: Path) -> None:
    planted = []
    for above, below in zip(floors(), floors()[1:], strict=False):
        for room in below:
            importer = plant(house, room, f"import ktstr.{above[0]}")
            planted.append(f"{importer} -> ktstr.{above[0]}")
    done = lint(house)
    assert done.returncode == 1
    missed = [chain for chain in planted if not re.search(rf"{re.escape(chain)}\b", done.stdout)]
    assert missed == [], done.stdout


def test_an_import_for_types_alone_is_an_import(house: Path) -> None:
    line = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ktstr.cli"
    done = lint(house) if plant(house, "host", line) else None
    assert done is not None and done.returncode == 1
    assert "ktstr.host.planted -> ktstr.cli" in done.stdout


@pytest.mark.parametrize(
    ("room", "line", "chain"),
    [
        ("kernels", "import ktstr.results.planted", "ktstr.kernels.planted -> ktstr.results.planted"),
        ("scenarios", "import ktstr.lab.planted", "ktstr.scenarios.planted -> ktstr.lab.planted"),
    ],
)
def test_rooms_of_one_floor_do_not_know_each_other(house: Path, room: str, line: str, chain: str) -> None:
    plant(house, line.split(".")[1], "")
    plant(house, room, line)
    done = lint(house)
    assert done.returncode == 1
    assert chain in done.stdout


def test_a_circle_inside_a_room_is_caught(house: Path) -> None:
    (house / "ktstr/checks/one.py").write_text("import ktstr.checks.other\n", encoding="utf-8")
    (house / "ktstr/checks/other.py").write_text("import ktstr.checks.one\n", encoding="utf-8")
    done = lint(house)
    assert done.returncode == 1
    assert "No cycles are allowed in ktstr.checks" in done.stdout


def test_a_module_on_no_floor_is_caught(house: Path) -> None:
    (house / "ktstr/stray.py").touch()
    done = lint(house)
    assert done.returncode == 1
    assert "stray" in done.stdout + done.stderr


def test_every_file_is_a_module_that_the_contracts_see() -> None:
    folders = {path.parent for path in (ROOT / "ktstr").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
    names = (path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "ktstr").rglob("*.py"))
    files = {".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in names}
    graph = grimp.build_graph("ktstr", cache_dir=None)
    assert graph.modules == files
