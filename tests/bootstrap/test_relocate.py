"""A virtual environment made aside works under the name it is renamed to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bootstrap.checkout import ROOT

RELOCATE = ROOT / "bootstrap/relocate.py"


def _make(folder: Path) -> Path:
    subprocess.run([sys.executable, "-I", "-m", "venv", "--prompt", "ktstr", str(folder)], check=True)
    return folder


@pytest.mark.parametrize("checkout", ["checkout", "check out"])
def test_its_programs_start_and_nothing_names_the_old_path(tmp_path: Path, checkout: str) -> None:
    old, new = _make(tmp_path / checkout / ".venv.tmp.1"), tmp_path / checkout / ".venv"
    subprocess.run([sys.executable, RELOCATE, str(old), str(new)], check=True)
    old.rename(new)
    for path in (*(new / "bin").iterdir(), new / "pyvenv.cfg"):
        assert path.is_symlink() or b".venv.tmp.1" not in path.read_bytes()
    done = subprocess.run([new / "bin/pip", "--version"], capture_output=True, text=True, check=True)
    assert str(new) in done.stdout


def test_the_links_to_python_are_left_alone(tmp_path: Path) -> None:
    old = _make(tmp_path / "old")
    target = (old / "bin/python").resolve()
    subprocess.run([sys.executable, RELOCATE, str(old), str(tmp_path / "new")], check=True)
    assert (old / "bin/python").is_symlink()
    assert (old / "bin/python").resolve() == target
