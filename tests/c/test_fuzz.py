"""Fuzzes what hostile guests and files reach in the VMM: seeded and short in CI, libFuzzer for minutes when slow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.c.objects import FLAGS, HERE, core_objects, link, run
from tests.c.test_c import LIBFUZZER_S, fuzzing_clang

# Inputs of the seeded generator: about 4 seconds of a CPU for each target. They run beside each other.
TARGETS = {
    "fuzz_console": 2400,
    "fuzz_loaders": 6400,
    "fuzz_pci": 3200,
    "fuzz_tables": 12000,
    "fuzz_virtqueue": 3200,
}
SEEDED_S = 280
MAX_BYTES = {"fuzz_loaders": 4200}  # of libFuzzer's inputs: a header, and a page of the file


@pytest.fixture(scope="session")
def clang_core(objects_place: Path) -> tuple[str, list[Path]]:
    compiler = fuzzing_clang()
    assert compiler is not None, "clang has no libFuzzer here: apt-get install libclang-rt-19-dev"
    return compiler, list(core_objects(objects_place, compiler, *FLAGS, "-fsanitize=fuzzer-no-link").values())


def test_every_target_is_run() -> None:
    assert {path.stem for path in HERE.glob("fuzz_*.c")} == TARGETS.keys() | {"fuzz_program"}


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory, objects_place: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All targets, started at once."""
    folder = tmp_path_factory.mktemp("fuzz_gcc")
    core = core_objects(objects_place, "gcc", *FLAGS).values()
    programs = {target: link("gcc", target, core, folder, *FLAGS, "-DFUZZ_STANDALONE") for target in TARGETS}
    out, err = subprocess.PIPE, subprocess.STDOUT
    running = {
        target: subprocess.Popen([program, str(TARGETS[target])], stdout=out, stderr=err, text=True)
        for target, program in programs.items()
    }
    yield running
    for process in running.values():
        with process:
            process.kill()


@pytest.mark.parametrize("target", TARGETS)
def test_random_inputs_break_nothing(target: str, seeded: dict[str, subprocess.Popen[str]]) -> None:
    told, _ = seeded[target].communicate(timeout=SEEDED_S)
    assert seeded[target].returncode == 0, told
    assert told.startswith(f"{TARGETS[target]} inputs, ")


@pytest.mark.slow
@pytest.mark.timeout(LIBFUZZER_S + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_libfuzzer_finds_nothing(target: str, clang_core: tuple[str, list[Path]], tmp_path: Path) -> None:
    compiler, core = clang_core
    fuzzer = link(compiler, target, core, tmp_path, *FLAGS, "-fsanitize=fuzzer")
    limits = [f"-max_total_time={LIBFUZZER_S}", f"-max_len={MAX_BYTES.get(target, 2400)}", "-timeout=10"]
    run([str(fuzzer), *limits, f"-artifact_prefix={tmp_path}/"], timeout=LIBFUZZER_S + 60)
