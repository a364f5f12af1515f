"""Snapshots and clones of whole machines on a real KVM: clocks, registers, memory and files of each, idle and busy."""

from __future__ import annotations

import pytest

from tests.c import vmm_objects
from tests.c.objects import run
from tests.nested.guests import SNAPSHOTS
from tests.nested.guests import program as built

CASES = [(program, name) for program in vmm_objects.SNAPSHOTS for name in vmm_objects.names(program)]


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_snapshot(program: str, name: str) -> None:
    run([str(built(SNAPSHOTS, program)), name], timeout=120)
