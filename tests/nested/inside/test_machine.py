"""Whole machines of the VMM on a real KVM: what ends, refuses, starves or misuses one, and that nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.test_c import FLAGS, run
from tests.c.vmm_objects import LANGUAGE, MACHINES, THREAD_SANITIZER, build_machines, names

CASES = [(program, name) for program in MACHINES for name in names(program)]
WATCHED = [case for case in CASES if case[0] != "test_vmm_leaks"]  # it counts the process's own memory and threads

SANITIZERS = {"asan_and_ubsan": FLAGS, "tsan": THREAD_SANITIZER}


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_machines(tmp_path_factory.mktemp("machines"), *LANGUAGE)


@pytest.fixture(scope="session", params=SANITIZERS)
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_machines(tmp_path_factory.mktemp(request.param), *SANITIZERS[request.param])


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_machine(machines: dict[str, Path], program: str, name: str) -> None:
    run([str(machines[program]), name], timeout=120)


@pytest.mark.slow
def test_a_thousand_cycles_leave_nothing_behind(machines: dict[str, Path]) -> None:
    command = ["env", "KTSTR_CYCLES=1000", str(machines["test_vmm_leaks"]), "cycles_leave_nothing_behind"]
    assert run(command, timeout=800) == "1000 cycles\n"


# An address space that is laid out at random may be in the way of a sanitizer's own.
@pytest.mark.slow
@pytest.mark.parametrize(("program", "name"), WATCHED, ids=[name for _, name in WATCHED])
def test_sanitizers_find_nothing(watched: dict[str, Path], program: str, name: str) -> None:
    run(["setarch", "-R", str(watched[program]), name], timeout=240)
