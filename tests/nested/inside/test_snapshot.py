"""Snapshots and clones of whole machines on a real KVM: clocks, registers, memory and files of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.test_c import run
from tests.c.vmm_objects import LANGUAGE, build_core, link, names

PROGRAM = "test_vmm_snapshot"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    return link("gcc", PROGRAM, build_core("gcc", folder, *LANGUAGE), folder, *LANGUAGE)


@pytest.mark.parametrize("name", names(PROGRAM))
def test_snapshot(program: Path, name: str) -> None:
    run([str(program), name], timeout=120)
