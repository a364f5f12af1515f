"""Builds the VMM's devices with ASan and UBSan and drives them as a guest's kernel does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.c.objects import FLAGS, HERE, core_objects, link, run

UNITS = ("test_vmm_devices", "test_vmm_console", "test_vmm_sink", "test_vmm_transport")
CASES = [
    (unit, name)
    for unit in UNITS
    for name in re.findall(r"^TEST\((\w+)\)", (HERE / f"{unit}.c").read_text(), re.MULTILINE)
]


@pytest.fixture(scope="session")
def units(tmp_path_factory: pytest.TempPathFactory, objects_place: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vmm_devices")
    core = core_objects(objects_place, "gcc", *FLAGS).values()
    return {unit: link("gcc", unit, core, folder, *FLAGS) for unit in UNITS}


@pytest.mark.parametrize(("unit", "name"), CASES, ids=[name for _, name in CASES])
def test_device(units: dict[str, Path], unit: str, name: str) -> None:
    run([str(units[unit]), name])


def test_every_device_test_is_known_to_its_runner(units: dict[str, Path]) -> None:
    assert len(CASES) >= 45
    for program in units.values():
        done = subprocess.run([str(program), "no_such_test"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
