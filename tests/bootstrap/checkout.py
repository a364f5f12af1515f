"""Copies of this checkout for tests to set up, break and set up again."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# What a clean clone would not have.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "target", "build", "*.egg-info", "__pycache__", ".hypothesis", ".*_cache"
)


def copy_checkout(into: Path) -> Path:
    """The work tree as it stands, without what was made in it."""
    shutil.copytree(ROOT, into, ignore=LEFT_OUT, symlinks=True)
    return into


def copy_wrapper(into: Path) -> Path:
    """Only what the wrapper reads."""
    into.mkdir(parents=True)
    shutil.copy(ROOT / "doit", into / "doit")
    shutil.copytree(ROOT / "bootstrap", into / "bootstrap", ignore=LEFT_OUT)
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, into / name)
    return into
