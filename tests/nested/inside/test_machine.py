"""Whole machines of the VMM on a real KVM: what ends, refuses, starves or misuses one, and that nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c import vmm_objects
from tests.c.objects import FLAGS, run
from tests.c.vmm_objects import THREAD_SANITIZER, build_machines
from tests.nested.guests import MACHINES
from tests.nested.guests import program as built

CASES = [(program, name) for program in vmm_objects.MACHINES for name in vmm_objects.names(program)]
WATCHED = [case for case in CASES if case[0] != "test_vmm_leaks"]  # it counts the process's own memory and threads

SANITIZERS = {"asan_and_ubsan": FLAGS, "tsan": THREAD_SANITIZER}


@pytest.fixture(scope="session", params=SANITIZERS)
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    return build_machines(folder / "objects", folder, *SANITIZERS[request.param])


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_machine(program: str, name: str) -> None:
    run([str(built(MACHINES, program)), name], timeout=120)


@pytest.mark.slow
def test_a_thousand_cycles_leave_nothing_behind() -> None:
    program = built(MACHINES, "test_vmm_leaks")
    command = ["env", "KTSTR_CYCLES=1000", str(program), "cycles_leave_nothing_behind"]
    assert run(command, timeout=800) == "1000 cycles\n"


# An address space that is laid out at random may be in the way of a sanitizer's own.
@pytest.mark.slow
@pytest.mark.parametrize(("program", "name"), WATCHED, ids=[name for _, name in WATCHED])
def test_sanitizers_find_nothing(watched: dict[str, Path], program: str, name: str) -> None:
    run(["setarch", "-R", str(watched[program]), name], timeout=240)
