"""Builds the agent's C with ASan and UBSan and runs its unit tests and the program fuzzer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Delay,
    Hold,
    Op,
    Program,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Worker,
)

HERE = Path(__file__).parent
C_DIR = HERE.parent.parent / "vmm_c"
FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
)  # fmt: skip
NAMES = re.findall(r"^TEST\((\w+)\)", (HERE / "test_units.c").read_text(), re.MULTILINE)


def run(command: list[str], timeout: float = 300) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command[0]} ended {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compile_with(compiler: str, test: str, out: Path, *flags: str) -> Path:
    """One test program linked with all of the agent but its main."""
    agent = [str(path) for path in sorted((C_DIR / "guest").glob("*.c")) if path.name != "main.c"]
    includes = [f"-I{C_DIR / 'include'}", f"-I{C_DIR / 'guest'}"]
    run([compiler, *FLAGS, *flags, *includes, str(HERE / test), *agent, "-o", str(out)])
    return out


@pytest.fixture(scope="session")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with("gcc", "test_units.c", tmp_path_factory.mktemp("units") / "units")


@pytest.mark.parametrize("name", NAMES)
def test_unit(units: Path, name: str) -> None:
    run([str(units), name])


def test_every_unit_test_is_known_to_its_runner(units: Path) -> None:
    assert len(NAMES) >= 18
    done = subprocess.run([str(units), "no_such_test"], capture_output=True, text=True, check=False)
    assert done.returncode == 2


def whole_program() -> Program:
    """Every op, every work type, every policy."""
    ops: list[Op] = [
        StartScheduler(("/sched/bin/scx", "--slice", "5"), 10**9),
        AddCgroup("a/x", (0, 1, 511)),
        AddCgroup("b"),
        Spawn(0, 0, "SpinWait", (Worker(3), Worker()), nice=-10, affinity=(0,)),
        Spawn(1, 1, "YieldHeavy", (Worker(),), policy="batch"),
        Spawn(1, 2, "Mixed", (Worker(),), policy="idle"),
        Spawn(-1, 3, "Bursty", (Worker(),), (5, 6), policy="fifo", priority=98),
        Delay(7),
        Spawn(0, 4, "PipeIo", (Worker(),) * 4, (1024,), policy="rr", priority=1),
        Spawn(0, 5, "FutexPingPong", (Worker(),) * 2, (9,)),
        Spawn(0, 6, "ForkExit", (Worker(),)),
        Release(tuple(reversed(range(12)))),
        Hold(10**9),
        StopWorkers(),
        RemoveCgroups(),
        StopScheduler(10**9),
    ]
    return Program(2**64 - 1, 10**10, tuple(ops))


@pytest.fixture(scope="session")
def program_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program"
    path.write_bytes(encode(whole_program()))
    return path


def test_agent_accepts_what_the_host_encodes_and_survives_its_mutations(program_file: Path, tmp_path: Path) -> None:
    fuzzer = compile_with("gcc", "fuzz_program.c", tmp_path / "fuzz", "-DFUZZ_STANDALONE")
    assert run([str(fuzzer), "100000", str(program_file)]) == "16 ops, 12 workers\n"


def fuzzing_clang() -> str | None:
    """A clang whose libFuzzer is installed; the mutations above are run in any case."""
    for name in ("clang", "clang-19"):
        if (path := shutil.which(name)) is None:
            continue
        asked = [path, "-print-file-name=libclang_rt.fuzzer-x86_64.a"]
        answers = [subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()]
        answers += [str(p) for p in Path(path).resolve().parent.parent.glob("lib/clang/*/lib/linux/*fuzzer-x86_64.a")]
        if any(Path(answer).is_file() for answer in answers):
            return path
    return None


@pytest.mark.slow
def test_libfuzzer_finds_nothing_in_the_program_parser(program_file: Path, tmp_path: Path) -> None:
    compiler = fuzzing_clang()
    assert compiler is not None, "clang has no libFuzzer here: apt-get install libclang-rt-19-dev"
    fuzzer = compile_with(compiler, "fuzz_program.c", tmp_path / "fuzz", "-fsanitize=fuzzer")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    shutil.copy(program_file, corpus)
    run([str(fuzzer), "-runs=200000", "-seed=1", "-max_len=4096", f"-artifact_prefix={tmp_path}/", str(corpus)])
