"""Whole machines of the VMM on a real KVM: what ends, refuses, starves or misuses one, and that nothing is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.c.test_c import run
from tests.c.vmm_objects import LANGUAGE, MACHINES, THREAD_SANITIZER, build_machines, names

CASES = [(program, name) for program in MACHINES for name in names(program)]
WATCHED = [case for case in CASES if case[0] != "test_vmm_leaks"]  # it counts the process's own memory and threads


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_machines(tmp_path_factory.mktemp("machines"), *LANGUAGE)


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_machines(tmp_path_factory.mktemp("watched"), *THREAD_SANITIZER)


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_machine(machines: dict[str, Path], program: str, name: str) -> None:
    run([str(machines[program]), name], timeout=120)


@pytest.mark.slow
def test_a_thousand_cycles_leave_nothing_behind(machines: dict[str, Path]) -> None:
    command = ["env", "KTSTR_CYCLES=1000", str(machines["test_vmm_leaks"]), "cycles_leave_nothing_behind"]
    assert run(command, timeout=800) == "1000 cycles\n"


# An address space that is laid out at random may be in the way of the sanitizer's own.
@pytest.mark.slow
@pytest.mark.parametrize(("program", "name"), WATCHED, ids=[name for _, name in WATCHED])
def test_threads_do_not_race(watched: dict[str, Path], program: str, name: str) -> None:
    run(["setarch", "-R", str(watched[program]), name], timeout=240)


@pytest.mark.slow
def test_a_race_would_be_seen(tmp_path: Path) -> None:
    source = tmp_path / "race.c"
    source.write_text(
        "#include <pthread.h>\nstatic int n;\nstatic void *add(void *arg) { n++; return arg; }\n"
        "int main(void) { pthread_t t; pthread_create(&t, 0, add, 0); n++; return pthread_join(t, 0); }\n"
    )
    run(["gcc", *THREAD_SANITIZER, "-pthread", str(source), "-o", str(tmp_path / "race")])
    done = subprocess.run(["setarch", "-R", str(tmp_path / "race")], capture_output=True, text=True, check=False)
    assert "data race" in done.stderr
