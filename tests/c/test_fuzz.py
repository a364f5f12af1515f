"""Fuzzes what hostile guests and files reach in the VMM: seeded and short in CI, libFuzzer for minutes when slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.test_c import FLAGS, HERE, fuzzing_clang, run
from tests.c.vmm_objects import build_core, link

# Inputs of the seeded generator: about 5 seconds of each target, 30 in all with what compiling takes.
TARGETS = {
    "fuzz_console": 3000,
    "fuzz_loaders": 8000,
    "fuzz_pci": 4000,
    "fuzz_tables": 15000,
    "fuzz_virtqueue": 4000,
}
MAX_BYTES = {"fuzz_loaders": 4200}  # of libFuzzer's inputs: a header, and a page of the file
LIBFUZZER_S = 300


@pytest.fixture(scope="session")
def gcc_core(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return build_core("gcc", tmp_path_factory.mktemp("fuzz_gcc"), *FLAGS)


@pytest.fixture(scope="session")
def clang_core(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    compiler = fuzzing_clang()
    assert compiler is not None, "clang has no libFuzzer here: apt-get install libclang-rt-19-dev"
    return compiler, build_core(compiler, tmp_path_factory.mktemp("fuzz_clang"), *FLAGS, "-fsanitize=fuzzer-no-link")


def test_every_target_is_run() -> None:
    assert {path.stem for path in HERE.glob("fuzz_*.c")} == TARGETS.keys() | {"fuzz_program"}


@pytest.mark.parametrize("target", TARGETS)
def test_random_inputs_break_nothing(target: str, gcc_core: list[str], tmp_path: Path) -> None:
    fuzzer = link("gcc", target, gcc_core, tmp_path, *FLAGS, "-DFUZZ_STANDALONE")
    assert run([str(fuzzer), str(TARGETS[target])]).startswith(f"{TARGETS[target]} inputs, ")


@pytest.mark.slow
@pytest.mark.timeout(LIBFUZZER_S + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_libfuzzer_finds_nothing(target: str, clang_core: tuple[str, list[str]], tmp_path: Path) -> None:
    compiler, core = clang_core
    fuzzer = link(compiler, target, core, tmp_path, *FLAGS, "-fsanitize=fuzzer")
    limits = [f"-max_total_time={LIBFUZZER_S}", f"-max_len={MAX_BYTES.get(target, 2400)}", "-timeout=10"]
    run([str(fuzzer), *limits, f"-artifact_prefix={tmp_path}/"], timeout=LIBFUZZER_S + 60)
