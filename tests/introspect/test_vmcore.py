"""Cores of guests: what is read of one is what is read of the guest; other files are refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.introspect.bpf import read_programs
from ktstr.introspect.program import GuestProgram, Unreadable, open_program
from ktstr.introspect.scx import read_state
from ktstr.introspect.stacks import read_running
from ktstr.introspect.summary import summary
from ktstr.introspect.tasks import read_tasks
from ktstr.introspect.vmcore import Core, write_core
from ktstr.vm.guest_memory import BadAddress
from tests.e2e.conftest import UserProject, make_project
from tests.introspect.guests import Taken

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HZ = 250
DECLARED = 'kernels: {default: "deb:forky/cloud-amd64"}\ntests: {t: {cgroups: [{name: a}]}}\n'


@pytest.fixture(scope="module")
def core(taken: Taken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("core") / "memory.vmcore"
    write_core(path, taken.open(), taken.entry)
    return path


def everything(program: GuestProgram) -> list[object]:
    running = read_running(program, program.registers)
    return [read_state(program, HZ), read_tasks(program, HZ), read_programs(program), running, summary(program, HZ)]


def test_a_core_says_all_that_the_guest_said(taken: Taken, core: Path) -> None:
    with Core(core) as memory:
        assert memory.note is not None
        assert (memory.note.vmlinux, memory.note.key) == (taken.entry.digest, taken.entry.key)
        assert [each["rip"] for each in memory.registers] == [each["rip"] for each in taken.registers]
        program = open_program(memory, taken.kernel, memory.registers)
        assert everything(program) == everything(taken.open())


def test_pages_of_zeros_take_no_room(taken: Taken, core: Path) -> None:
    whole = sum(piece.size for piece in taken.memory.layout.pieces)
    assert core.stat().st_size > whole
    assert core.stat().st_blocks * 512 < whole // 2


def test_readelf_sees_a_core_with_the_memory_and_the_registers(core: Path) -> None:
    told = subprocess.run(["readelf", "-hlnW", str(core)], capture_output=True, text=True, check=True).stdout
    assert "CORE (Core file)" in told
    assert told.count("NT_PRSTATUS") == 4
    assert "VMCOREINFO" in told
    assert told.count("LOAD  ") == 2  # RAM, and the kernel's image in it


def test_drgn_itself_takes_it_for_a_kernel_s_core(core: Path) -> None:
    import drgn

    prog = drgn.Program()
    prog.set_core_dump(str(core))
    assert prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL
    assert prog["VMCOREINFO"].string_().startswith(b"OSRELEASE=")


def test_what_lies_outside_of_its_memory_is_no_address(core: Path) -> None:
    with Core(core) as memory:
        end = memory.layout.pieces[-1].end
        for address, size in ((end, 1), (end - 1, 2), (1 << 60, 8)):
            with pytest.raises(BadAddress):
                memory.read(address, size)


@pytest.mark.parametrize("content", [b"", b"x" * 100, Path(sys.executable).read_bytes()[:4096]])
def test_a_file_that_is_no_core_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"core=.*file: "):
        Core(path)


def test_mutated_headers_and_cut_files_are_refused_or_read_within_bounds(
    taken: Taken, core: Path, tmp_path: Path
) -> None:
    head = core.read_bytes()[:8192]
    rng = random.Random(5)
    path = tmp_path / "mutated"
    refused = 0
    for _ in range(300):
        data = bytearray(head)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(0x200)] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        path.write_bytes(data)
        os.truncate(path, rng.choice((8192, 4096, 1 << 20, core.stat().st_size)))
        try:
            with Core(path) as memory:
                open_program(memory, taken.kernel, memory.registers)
        except (InputError, Unreadable):
            refused += 1
    assert refused > 100


@pytest.fixture
def project(tmp_path: Path, lock: str) -> UserProject:
    made = make_project(tmp_path, lock)
    made.write(DECLARED)
    return made


def test_introspect_prints_a_summary_without_a_terminal(project: UserProject, core: Path) -> None:
    done = project.doit("introspect", f"core={core}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "sched_ext enabled: ktstr"
    assert any(line.startswith("BPF ktstr_dispatch: ") for line in lines)


def test_introspect_runs_a_script_with_the_program_and_its_helpers(project: UserProject, core: Path) -> None:
    script = "print(prog['init_task'].comm.string_().decode(), len(guest.cpus), hz)\nfind_task(prog, 1)\n"
    (project.path / "s.py").write_text(script, encoding="utf-8")
    done = project.doit("introspect", f"core={core}", "script=s.py")
    assert (done.returncode, done.stdout) == (0, "swapper/0 4 250\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "script", "code", "why"),
    [
        ((), None, 2, "introspect: expected core=FILE"),
        (("core=gone",), None, 2, "gone: cannot be read"),
        (("core=ktstr.yaml",), None, 2, "core="),
        (("core=CORE", "script=gone.py"), None, 2, "gone.py: cannot be read"),
        (("core=CORE", "script=s.py"), "if:\n", 2, "invalid syntax"),
        (("core=CORE", "script=s.py"), "1 / 0\n", 1, "ZeroDivisionError"),
        (("core=CORE", "script=s.py"), "raise SystemExit(5)\n", 1, ""),
    ],
)
def test_introspect_says_what_is_wrong(
    project: UserProject, core: Path, words: tuple[str, ...], script: str | None, code: int, why: str
) -> None:
    if script is not None:
        (project.path / "s.py").write_text(script, encoding="utf-8")
    done = project.doit("introspect", *(word.replace("CORE", str(core)) for word in words))
    assert done.returncode == code, done.stderr
    assert why in done.stderr
