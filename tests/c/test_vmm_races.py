"""The VMM's parts that need no KVM under TSan; whole machines are watched in ``tests/nested/inside``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.c.objects import core_objects, link, run
from tests.c.vmm_objects import THREAD_SANITIZER, names

PROGRAMS = ("test_vmm_core", "test_vmm_devices", "test_vmm_console", "test_vmm_sink", "test_vmm_transport")

RACE = """
#include <pthread.h>
volatile int n;
static void *add(void *arg) { for (int i = 0; i < 100000; i++) n++; return arg; }
int main(void) { pthread_t t; pthread_create(&t, 0, add, 0); add(0); return pthread_join(t, 0); }
"""


@pytest.fixture(scope="session")
def core(objects_place: Path) -> list[Path]:
    return list(core_objects(objects_place, "gcc", *THREAD_SANITIZER).values())


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_do_not_race(program: str, core: list[Path], tmp_path: Path) -> None:
    watched = link("gcc", program, core, tmp_path, *THREAD_SANITIZER)
    for name in names(program):
        run(["setarch", "-R", str(watched), name])


@pytest.mark.slow
def test_a_race_would_be_seen(tmp_path: Path) -> None:
    source, program = tmp_path / "race.c", tmp_path / "race"
    source.write_text(RACE, encoding="utf-8")
    run(["gcc", *THREAD_SANITIZER, "-pthread", str(source), "-o", str(program)])
    done = subprocess.run(["setarch", "-R", str(program)], capture_output=True, text=True, check=False)
    assert "data race" in done.stderr and done.returncode == 66
