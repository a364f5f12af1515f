"""What it takes to add a work type: a C file, a row of a table (here with one for its number), and two commands that
write what follows from it.

Costs a guest of one vCPU and the agent's compilation, 8 s.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from difflib import ndiff
from filecmp import dircmp
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, UserProject
from tests.e2e.small import private_cache

pytestmark = pytest.mark.e2e

PARTS = ("ktstr", "schemas", "vmm_c/guest", "vmm_c/include", "vmm_c/qemu")
TOY_C = """\
// SPDX-License-Identifier: GPL-2.0-only
/* params: units of a third. */
#include "work/work.h"

static bool iterate(struct self *self)
{
	for (int third = 0; third < 3; third++)
		spin(self, self->slot->params[0]);
	return true;
}

const struct work_ops work_toy = { .iterate = iterate };
"""
ROWS = """\
WORK_TYPE(TOY, toy, 200, Toy, 1, 0, 0, "counts in thirds")
WORK_PARAM(TOY, third, third_units, COUNT, 1000, 1, 1000000, "units of a third")
"""
YAML = """\
kernels: {default: "deb:forky/cloud-amd64"}
presets: {one: 1n1l1c1t}
tests:
  toy:
    duration: 100ms
    cgroups: [{name: one, workers: 2, work: Toy, third: 2000}]
"""


@pytest.fixture
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ktstr with the new type in it."""
    folder = tmp_path_factory.mktemp("toy") / "checkout"
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "vmm_c/guest/work/toy.c").write_text(TOY_C, encoding="ascii")
    table = folder / "vmm_c/include/work_types.def"
    rows, undefined, rest = table.read_text(encoding="ascii").partition("#undef")
    table.write_text(f"{rows}{ROWS}{undefined}{rest}", encoding="ascii")
    subprocess.run([sys.executable, "-m", "ktstr.record.definitions"], cwd=folder, check=True)
    with (folder / "schemas/ktstr.schema.json").open("wb") as schema:
        subprocess.run([sys.executable, "-m", "ktstr.config.schema"], cwd=folder, check=True, stdout=schema)
    return folder


def differences(compared: dircmp[str], folder: str) -> set[str]:
    """Files that are not the same in both, or in one alone."""
    found = {f"{folder}/{name}" for name in (*compared.left_only, *compared.right_only, *compared.diff_files)}
    return found.union(*(differences(below, f"{folder}/{name}") for name, below in compared.subdirs.items()))


def test_a_new_work_type_is_a_file_and_a_row_and_works(project: UserProject, checkout: Path) -> None:
    changed = set()
    for part in PARTS:
        changed |= differences(dircmp(ROOT / part, checkout / part, ignore=["__pycache__"]), part)
    assert changed == {
        "vmm_c/guest/work/toy.c", "vmm_c/include/work_types.def",
        "ktstr/record/work_table.py", "schemas/ktstr.schema.json",  # written by the two commands
    }  # fmt: skip
    old, new = ((root / "vmm_c/include/work_types.def").read_text("ascii").splitlines() for root in (ROOT, checkout))
    assert [line for line in ndiff(old, new) if line[0] != " "] == [f"+ {row}" for row in ROWS.splitlines()]

    project.write(YAML)
    cache = private_cache(checkout.parent / "cache", "tools", "kernels")
    code, report = project.test("test=toy", "preset=one", PYTHONPATH=str(checkout), KTSTR_CACHE_DIR=str(cache))
    (cell,) = report["cells"]
    assert (code, cell["verdict"], cell["reasons"]) == (0, "pass", [])
    for worker in project.sidecar(cell)["workers"]:
        assert worker["iterations"] > 100
        assert 0 <= worker["work_units"] - 6000 * worker["iterations"] < 6000
