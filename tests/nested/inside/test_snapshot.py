"""Snapshots and clones of whole machines on a real KVM: clocks, registers, memory and files of each, idle and busy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.test_c import run
from tests.c.vmm_objects import LANGUAGE, SNAPSHOTS, build_snapshots, names

CASES = [(program, name) for program in SNAPSHOTS for name in names(program)]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_snapshots(tmp_path_factory.mktemp("snapshot"), *LANGUAGE)


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_snapshot(programs: dict[str, Path], program: str, name: str) -> None:
    run([str(programs[program]), name], timeout=120)
