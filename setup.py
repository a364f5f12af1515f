"""Puts the folders beside ``ktstr/`` into the wheel; all else is in pyproject.toml.

``ktstr.resources`` finds them again, in a checkout and in an installed wheel alike.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# In the checkout, in the wheel, and which files of it.
RESOURCES = (
    ("vmm_c", "ktstr/_c", "**/*.[ch]"),
    ("kconfig", "ktstr/_kconfig", "*.kconfig"),
    ("schemas", "ktstr/_schemas", "*.json"),
    ("schedulers", "ktstr/_schedulers", "**/*.[ch]"),
    (".", "ktstr/_lock", "ktstr.lock"),
)


class BuildWithResources(build_py):
    """``build_py``, from scratch, that also copies the resources unless the install is editable."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for source, target, pattern in RESOURCES:
                copy_tree(ROOT / source, Path(self.build_lib) / target, pattern)


def copy_tree(source: Path, target: Path, pattern: str) -> None:
    """Copy the files of ``source`` that match, keeping their folders."""
    for path in sorted(source.glob(pattern)):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


setup(cmdclass={"build_py": BuildWithResources})
