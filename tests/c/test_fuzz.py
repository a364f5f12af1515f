"""Fuzzes what hostile guests and files reach in the VMM: seeded and short in CI, libFuzzer for minutes when slow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.c.test_c import FLAGS, HERE, LIBFUZZER_S, fuzzing_clang, run
from tests.c.vmm_objects import build_core, link

# Inputs of the seeded generator: about 10 seconds of a CPU for each target. They run beside each other.
TARGETS = {
    "fuzz_console": 6000,
    "fuzz_loaders": 16000,
    "fuzz_pci": 8000,
    "fuzz_tables": 30000,
    "fuzz_virtqueue": 8000,
}
SEEDED_S = 280
MAX_BYTES = {"fuzz_loaders": 4200}  # of libFuzzer's inputs: a header, and a page of the file


@pytest.fixture(scope="session")
def clang_core(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    compiler = fuzzing_clang()
    assert compiler is not None, "clang has no libFuzzer here: apt-get install libclang-rt-19-dev"
    return compiler, build_core(compiler, tmp_path_factory.mktemp("fuzz_clang"), *FLAGS, "-fsanitize=fuzzer-no-link")


def test_every_target_is_run() -> None:
    assert {path.stem for path in HERE.glob("fuzz_*.c")} == TARGETS.keys() | {"fuzz_program"}


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All targets, started at once."""
    folder = tmp_path_factory.mktemp("fuzz_gcc")
    core = build_core("gcc", folder, *FLAGS)
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
def test_libfuzzer_finds_nothing(target: str, clang_core: tuple[str, list[str]], tmp_path: Path) -> None:
    compiler, core = clang_core
    fuzzer = link(compiler, target, core, tmp_path, *FLAGS, "-fsanitize=fuzzer")
    limits = [f"-max_total_time={LIBFUZZER_S}", f"-max_len={MAX_BYTES.get(target, 2400)}", "-timeout=10"]
    run([str(fuzzer), *limits, f"-artifact_prefix={tmp_path}/"], timeout=LIBFUZZER_S + 60)
