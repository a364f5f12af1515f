"""Whole machines of the VMM on a real KVM: guests of a few bytes, and everything that ends or refuses one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.c.test_c import FLAGS, HERE, run
from tests.c.test_vmm_core import build

NAMES = re.findall(r"^TEST\((\w+)\)", (HERE / "test_vmm_machine.c").read_text(), re.MULTILINE)
SLOW = ("-fsanitize", "-fno-sanitize", "-O")  # on an emulated host, to run or to compile


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = [flag for flag in FLAGS if not flag.startswith(SLOW)]
    return build("test_vmm_machine", tmp_path_factory.mktemp("machine") / "machine", *flags)


@pytest.mark.parametrize("name", NAMES)
def test_machine(machine: Path, name: str) -> None:
    run([str(machine), name], timeout=120)
