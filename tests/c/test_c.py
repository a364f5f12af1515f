"""Builds the agent's C with ASan and UBSan and runs its unit tests and the program fuzzer."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from ktstr.record.vocabulary import OPS, POLICIES, WORK_TYPES
from ktstr.record.work_table import WorkType
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Checkpoint,
    ClearCpus,
    Deadline,
    Delay,
    Hold,
    Kill,
    MemPolicy,
    Move,
    Op,
    Payload,
    Program,
    Read,
    ReadCgroup,
    Release,
    RemoveCgroups,
    Repeat,
    Run,
    Scope,
    Selector,
    SetAffinity,
    SetCpus,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Wait,
    Work,
    Worker,
    Write,
    WriteCgroup,
    flat,
)
from tests.c.objects import FLAGS, HERE, agent_objects, link, run

LIBFUZZER_S = 300
PROGRAMS = ("test_units", "test_program", "test_fw_cfg", "test_tracee")
CASES = [
    (program, name)
    for program in PROGRAMS
    for name in re.findall(r"^TEST\((\w+)\)", (HERE / f"{program}.c").read_text(), re.MULTILINE)
]


def library(objects: Path, compiler: str, *flags: str) -> list[Path]:
    """All of the agent but its main."""
    return [made for source, made in agent_objects(objects, compiler, *flags).items() if source.name != "main.c"]


@pytest.fixture(scope="session")
def units(tmp_path_factory: pytest.TempPathFactory, objects_place: Path) -> dict[str, Path]:
    folder, made = tmp_path_factory.mktemp("units"), library(objects_place, "gcc", *FLAGS)
    tests = (*PROGRAMS, "fuzz_program")
    return {test: link("gcc", test, made, folder, *FLAGS, "-DFUZZ_STANDALONE") for test in tests}


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_unit(units: dict[str, Path], program: str, name: str) -> None:
    run([str(units[program]), name])


def test_every_unit_test_is_known_to_its_runner(units: dict[str, Path]) -> None:
    assert len(CASES) >= 36
    for program in PROGRAMS:
        done = subprocess.run([str(units[program]), "no_such_test"], capture_output=True, text=True, check=False)
        assert done.returncode == 2


def _others() -> Iterator[tuple[WorkType, int, tuple[int, ...]]]:
    """Work types that the program says nothing more of: each with its crew, and its numbers as they are."""
    for name in get_args(WorkType):
        params = tuple(param.default for param in WORK_TYPES[name].params)
        if name not in ("SpinWait", "YieldHeavy", "Mixed", "Bursty", "PipeIo", "FutexPingPong", "ForkExit"):
            yield name, WORK_TYPES[name].group(params), params


OTHERS = tuple(_others())
OTHER_WORKERS = sum(crew for _, crew, _ in OTHERS)


def whole_program() -> Program:
    """Every op, every work type, every policy, blocks in blocks as deep as they may be."""
    cgroups = (Cgroup("a/x", (0, 1, 511), (0, 63)), Cgroup("b"), Cgroup("c"))
    order = iter(reversed(range(16 + OTHER_WORKERS)))

    def workers(*offsets: int) -> tuple[Worker, ...]:
        return tuple(Worker(offset, next(order)) for offset in offsets)

    works = (
        Work("SpinWait", 0, workers(3, 0), nice=-10, affinity=(0,)),
        Work("YieldHeavy", 1, workers(0), policy="batch"),
        Work("Mixed", 1, workers(0), policy="idle"),
        Work("Bursty", -1, workers(0), (1000, 2000), policy="fifo", priority=98),
        Work("PipeIo", 0, workers(0, 0, 0, 0), (1024,), policy="rr", priority=1),
        Work("FutexPingPong", 0, workers(0, 0), (9,)),
        Work("ForkExit", 0, workers(0)),
        Work("SpinWait", 2, workers(0, 5), threads=True, comm="a", pcomm="b", pages=True),
        Work(
            "SpinWait", 0, (Worker(0, next(order), (7,)),), policy="deadline", deadline=Deadline(1024, 2048, 4096),
            mem_policy=MemPolicy("interleave", (0, 63), 1 << 15), cgroup_namespace=True,
        ),
        Work("Mixed", -1, workers(0), policy="ext", mem_policy=MemPolicy("local")),
        *(Work(name, 0, workers(*[0] * crew), params) for name, crew, params in OTHERS),
    )  # fmt: skip
    payloads = (
        Payload(("/sched/bin/scx", "--slice", "5")),
        Payload(("/bin/true",), 1, (1, 2), ("A=b", "C="), "/include-files", "fifo", 98, -20),
    )
    innermost = Repeat((Delay(1, 2), Checkpoint(5)), 3, 10**9, 5)
    written = Write("/proc/sys/kernel/x", "7", restore=True, on_error="record")
    step = (
        AddCgroup(2),
        Spawn(7),
        Release(Selector("step", work=7, first_worker=1, workers=1)),
        Repeat((Checkpoint(4), Scope((Run(1), written, innermost))), 2),
        Move(Selector("step", cgroup=2), 1),
        StopWorkers(Selector("step")),
        RemoveCgroups(Selector("step")),
    )
    ops: tuple[Op, ...] = (
        StartScheduler(0, 10**9),
        AddCgroup(0),
        AddCgroup(1),
        Spawn(0),
        Spawn(1),
        Spawn(2),
        Spawn(3),
        Delay(7),
        Spawn(4),
        Spawn(5),
        Spawn(6),
        Release(Selector("backdrop", cgroup=0)),
        Release(),
        Hold(10**9),
        Scope(step, 10**9, step=True),
        Run(1, on_error="record"),
        Wait(1, 10**9, on_error="record"),
        Kill(1),
        Read("/proc/stat"),
        SetCpus(0, (0, 511)),
        ClearCpus(0),
        WriteCgroup(0, "cpu.max", "25000 100000"),
        ReadCgroup(0, "cgroup.events"),
        Spawn(8),
        Spawn(9),
        SetAffinity(Selector(work=1), (1, 3)),
        StopWorkers(),
        RemoveCgroups(),
        StopScheduler(10**9),
    )
    return Program(2**64 - 1, 10**10, cgroups, works, payloads, ops, ("memory", "io", "pids"))


def test_the_whole_program_holds_all_there_is() -> None:
    program = whole_program()
    assert {type(op).__name__ for op in flat(program.ops)} == set(OPS)
    assert {work.type for work in program.works} == set(WORK_TYPES)
    assert {work.policy for work in program.works} == set(POLICIES)


@pytest.fixture(scope="session")
def program_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program"
    path.write_bytes(encode(whole_program()))
    return path


def test_agent_accepts_what_the_host_encodes_and_survives_its_mutations(
    program_file: Path, units: dict[str, Path]
) -> None:
    ops = len(list(flat(whole_program().ops)))
    printed = run([str(units["fuzz_program"]), "40000", str(program_file)])
    assert printed == f"{ops} ops, {16 + OTHER_WORKERS} workers\n"


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
@pytest.mark.timeout(LIBFUZZER_S + 120)
def test_libfuzzer_finds_nothing_in_the_program_parser(program_file: Path, tmp_path: Path) -> None:
    compiler = fuzzing_clang()
    assert compiler is not None, "clang has no libFuzzer here: apt-get install libclang-rt-19-dev"
    made = library(tmp_path / "objects", compiler, *FLAGS, "-fsanitize=fuzzer-no-link")
    fuzzer = link(compiler, "fuzz_program", made, tmp_path, *FLAGS, "-fsanitize=fuzzer")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    shutil.copy(program_file, corpus)
    limits = [f"-max_total_time={LIBFUZZER_S}", "-seed=1", "-max_len=8192", "-timeout=10"]
    run([str(fuzzer), *limits, f"-artifact_prefix={tmp_path}/", str(corpus)], timeout=LIBFUZZER_S + 60)
