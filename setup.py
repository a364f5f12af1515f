"""Puts the folders beside ``ktstr/`` into the wheel, and the VMM's binding if it compiles here; all else is in
pyproject.toml.

``ktstr.resources`` and ``ktstr.vm.vmm_build`` find them again, in a checkout and in an installed wheel alike.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
# In the checkout, in the wheel, and which files of it.
RESOURCES = (
    ("vmm_c", "ktstr/_c", "**/*.[ch]"),
    ("vmm_c", "ktstr/_c", "**/*.def"),
    ("kconfig", "ktstr/_kconfig", "*.kconfig"),
    ("schemas", "ktstr/_schemas", "*.json"),
    ("schedulers", "ktstr/_schedulers", "**/*.[ch]"),
    (".", "ktstr/_lock", "ktstr.lock"),
)


class BuildWithResources(build_py):
    """``build_py``, from scratch, that also copies the resources, unless the install is editable.

    The tables of work types and ops are made anew of what the agent includes.
    """

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for source, target, pattern in RESOURCES:
                copy_tree(ROOT / source, Path(self.build_lib) / target, pattern)
            write_tables(Path(self.build_lib) / "ktstr/record")


class BuildBinding(build_ext):
    """``build_ext`` for the VMM, by the code that a checkout compiles it with on first use.

    Optional: where it does not compile, it is compiled on first use too, and that says what is missing.
    """

    def run(self) -> None:
        if not self.editable_mode:  # a checkout's sources change
            super().run()

    def build_extension(self, ext: Extension) -> None:
        sys.path.insert(0, str(ROOT))
        from ktstr.vm import vmm_build

        target = Path(self.get_ext_fullpath(ext.name)).absolute()
        try:
            vmm_build.build(ROOT / "vmm_c", vmm_build.agent.compiler(os.environ), target)
        except Exception as err:
            raise CompileError(str(err)) from err


def write_tables(record: Path) -> None:
    """Write what ``ktstr.record.definitions`` makes, by its code in the checkout."""
    sys.path.insert(0, str(ROOT))
    from ktstr.record import definitions

    definitions.write(ROOT / "vmm_c/include", record)


def copy_tree(source: Path, target: Path, pattern: str) -> None:
    """Copy the files of ``source`` that match, keeping their folders."""
    for path in sorted(source.glob(pattern)):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


setup(
    cmdclass={"build_py": BuildWithResources, "build_ext": BuildBinding},
    ext_modules=[Extension("ktstr.vm._ktstr_vmm", [], optional=True, py_limited_api=True)],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
