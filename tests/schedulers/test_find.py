"""Each kind of scheduler, from its declaration to what a plan knows of its program."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.config.model import Binary, Builtin, Crate, SchedulerDecl, SchedulerKind, Source
from ktstr.errors import Changed, HostError, InputError, KtstrError
from ktstr.host.cache import Cache
from ktstr.host.libraries import needed_files
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.find import depends_on_kernel, find_scheduler
from ktstr.tools.pinned import BpfTools

from .conftest import SCX_KTSTR

WHERE = "ktstr.yaml:7:11"
# One value from beside the folder, one from a file of another suffix, one from the compilers' search path.
SUM_BPF = """\
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
"""
SUM_C = """\
#include <stdio.h>
#include "sum.skel.h"
#include "../common.h"
#include <shared.h>
static const int table[] = {
#include "table.inc"
};
int main(void)
{
	printf("%d\\n", COMMON + SHARED + table[0]);
	return 0;
}
"""


def no_tools() -> BpfTools:
    raise HostError("the BPF tools cannot be had")


@pytest.fixture
def target(kernel_btf: Path, tools: BpfTools, tmp_path: Path) -> Build:
    """A kernel to build for, and a cache of its own."""
    return Build("6.14", "identity", "kernel:6.14", kernel_btf, lambda: tools, Cache(tmp_path / "cache"), os.environ)


def find(kind: SchedulerKind, target: Build) -> Artifact:
    artifact = find_scheduler(SchedulerDecl("mine", kind, where=WHERE), target)
    assert artifact is not None
    return artifact


def compile_c(out: Path, source: str, *flags: str) -> Path:
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(out), *flags], input=source.encode(), check=True)
    return out


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program with a library of its own, found through its RUNPATH."""
    compile_c(tmp_path / "libown.so", "int own(void) { return 1; }\n", "-shared", "-fPIC")
    main = "int own(void); int main(void) { return own(); }\n"
    return compile_c(tmp_path / "scx_mine", main, f"-L{tmp_path}", "-lown", "-Wl,-rpath,$ORIGIN")


@pytest.fixture
def summing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scheduler's folder, most of whose inputs lie elsewhere; prints 111."""
    source = tmp_path / "sum"
    source.mkdir()
    (tmp_path / "headers").mkdir()
    (source / "sum.bpf.c").write_text(SUM_BPF)
    (source / "sum.c").write_text(SUM_C)
    (source / "README").write_text("what it is\n")
    (source / "table.inc").write_text("1\n")
    (tmp_path / "common.h").write_text("#define COMMON 10\n")
    (tmp_path / "headers/shared.h").write_text("#define SHARED 100\n")
    monkeypatch.setenv("CPATH", str(tmp_path / "headers"))
    return source


def output(artifact: Artifact) -> int:
    """What the program of an artifact prints, built if it is not fresh."""
    assert artifact.build is not None and artifact.fresh is not None
    if not artifact.fresh():
        artifact.build()
    assert artifact.fresh()
    artifact.verify()
    return int(subprocess.run([artifact.binary], capture_output=True, check=True).stdout)


def test_each_kind_has_its_word_in_the_sidecar(target: Build, program: Path) -> None:
    kinds = (Binary(program), Source(SCX_KTSTR), Crate("scx", "1.0.0"))
    assert [find(kind, target).resolve_source for kind in kinds] == ["path", "auto_built", "auto_built"]


def test_only_what_is_built_from_bpf_sources_depends_on_the_kernel(target: Build, program: Path) -> None:
    newer = replace(target, kernel_label="7.2", kernel_identity="other", kernel_task="kernel:7.2")
    for kind, depends in ((Binary(program), False), (Crate("scx_mine", "1.0.0"), False), (Source(SCX_KTSTR), True)):
        assert depends_on_kernel(SchedulerDecl("mine", kind)) is depends
        assert (find(kind, target).inputs != find(kind, newer).inputs) is depends
    assert not depends_on_kernel(SchedulerDecl("eevdf", Builtin("eevdf")))


def test_a_scheduler_of_the_kernel_runs_no_program(target: Build) -> None:
    assert find_scheduler(SchedulerDecl("eevdf", Builtin("eevdf")), target) is None


def test_a_program_that_is_there_needs_no_task_no_tool_and_no_kernel(tmp_path: Path, program: Path) -> None:
    environ = {"LD_LIBRARY_PATH": "/opt/lib"}
    bare = Build("", "", "", tmp_path / "nosuch", no_tools, Cache(tmp_path / "cache"), environ)
    artifact = find(Binary(program), bare)
    assert (artifact.name, artifact.binary, artifact.folders) == ("mine", program, (Path("/opt/lib"),))
    assert (artifact.needs, artifact.target, artifact.build, artifact.fresh) == ((), None, None, None)
    needed = needed_files(program, (), "program")
    files = (program, *needed.libraries.values(), *needed.loaders.values())
    assert artifact.size == sum(file.stat().st_size for file in files)
    artifact.verify()


def test_a_program_is_known_by_its_content_its_name_and_its_libraries(
    target: Build, program: Path, tmp_path: Path
) -> None:
    first = find(Binary(program), target)
    (tmp_path / "copy").mkdir()
    for name in ("scx_mine", "libown.so"):
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    copy = find(Binary(tmp_path / "copy/scx_mine"), target)
    assert (copy.inputs, copy.libraries) == (first.inputs, first.libraries)
    program.rename(tmp_path / "scx_other")
    renamed = find(Binary(tmp_path / "scx_other"), target)
    assert renamed.inputs != first.inputs and renamed.libraries == first.libraries
    compile_c(tmp_path / "libown.so", "int own(void) { return 2; }\n", "-shared", "-fPIC")
    relinked = find(Binary(tmp_path / "scx_other"), target)
    assert relinked.inputs == renamed.inputs and relinked.libraries != renamed.libraries


@pytest.mark.parametrize("edited", ["scx_mine", "libown.so"])
def test_a_program_or_library_that_is_edited_after_the_plan_is_refused(
    target: Build, program: Path, edited: str
) -> None:
    artifact = find(Binary(program), target)
    with program.with_name(edited).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Changed) as caught:
        artifact.verify()
    assert caught.value.message.startswith(f"{WHERE}: scheduler binary {program}: ")
    assert caught.value.fix == "run the command again"


def test_a_program_that_is_gone_when_it_is_packed_is_named(target: Build, program: Path) -> None:
    artifact = find(Binary(program), target)
    program.unlink()
    with pytest.raises(InputError, match="scx_mine: found no such file"):
        artifact.verify()


def test_a_source_is_built_for_its_kernel_with_the_tools(target: Build, summing: Path) -> None:
    artifact = find(Source(summing), target)
    assert (artifact.name, artifact.needs) == ("sum@6.14", ("tools:bpf", "kernel:6.14"))
    assert artifact.binary == target.cache.entry("schedulers", artifact.inputs) / "sum"
    assert artifact.target == artifact.binary.with_name("metadata.json")
    assert output(artifact) == 111


@pytest.mark.parametrize(
    ("edited", "text", "printed"),
    [
        ("../common.h", "#define COMMON 20\n", 121),
        ("table.inc", "2\n", 112),
        ("../headers/shared.h", "#define SHARED 200\n", 211),
        ("../common.h", '#include "more.inc"\n', 141),
    ],
)
def test_a_source_is_built_again_when_anything_it_includes_changes(
    target: Build, summing: Path, edited: str, text: str, printed: int
) -> None:
    (summing / "../more.inc").write_text("#define COMMON 40\n")
    before = find(Source(summing), target)
    assert output(before) == 111
    (summing / "README").write_text("rewritten\n")
    assert find(Source(summing), target).inputs == before.inputs
    (summing / edited).write_text(text)
    after = find(Source(summing), target)
    assert after.inputs != before.inputs
    assert after.fresh is not None and not after.fresh()
    assert output(after) == printed


def test_a_header_that_the_search_path_now_has_elsewhere_is_another_input(
    target: Build, summing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output(find(Source(summing), target)) == 111
    (tmp_path / "nearer").mkdir()
    (tmp_path / "nearer/shared.h").write_text("#define SHARED 300\n")
    monkeypatch.setenv("CPATH", f"{tmp_path / 'nearer'}:{tmp_path / 'headers'}")
    assert output(find(Source(summing), target)) == 311


def test_a_plan_of_what_is_built_asks_the_compilers_what_they_are_and_nothing_else(
    target: Build, summing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    for name in ("clang-19", "gcc"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        real = shutil.which(name)
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\nexec {real} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert output(find(Source(summing), target)) == 111
    assert len(log.read_text().splitlines()) > 2
    log.write_text("")
    for name in ("clang-19", "gcc"):
        os.utime(tmp_path / "bin" / name)
    for _ in range(3):
        assert output(find(Source(summing), target)) == 111
    assert log.read_text().splitlines() == ["clang-19 --version", "gcc --version"]


def test_an_edit_between_plan_and_build_stores_nothing(target: Build, summing: Path) -> None:
    artifact = find(Source(summing), target)
    (summing / "table.inc").write_text("2\n")
    assert artifact.build is not None
    with pytest.raises(Changed, match=r"sum: table\.inc changed while ktstr was running"):
        artifact.build()
    assert not artifact.binary.exists()


def test_a_built_program_that_is_replaced_is_not_packed(target: Build, summing: Path) -> None:
    artifact = find(Source(summing), target)
    assert output(artifact) == 111
    shutil.copy("/bin/true", artifact.binary)
    with pytest.raises(Changed, match="scheduler sum: "):
        artifact.verify()


def _binary(path: Path) -> Callable[[Path], SchedulerKind]:
    return lambda folder: Binary(folder / path)


def _missing_library(folder: Path) -> SchedulerKind:
    compile_c(folder / "libgone.so", "int gone(void) { return 1; }\n", "-shared", "-fPIC")
    main = "int gone(void); int main(void) { return gone(); }\n"
    program = compile_c(folder / "needy", main, f"-L{folder}", "-lgone")
    (folder / "libgone.so").unlink()
    return Binary(program)


def _script(folder: Path) -> SchedulerKind:
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    return Binary(folder / "script")


def _unreadable_source(folder: Path) -> SchedulerKind:
    shutil.copytree(SCX_KTSTR, folder / "unreadable")
    (folder / "unreadable/odd.h").symlink_to("/proc/self/mem")
    return Source(folder / "unreadable")


def _two_pairs(folder: Path) -> SchedulerKind:
    shutil.copytree(SCX_KTSTR, folder / "two")
    (folder / "two/other.c").write_text("")
    (folder / "two/other.bpf.c").write_text("")
    return Source(folder / "two")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_binary(Path("nosuch")), "found no such file"),
        (_binary(Path()), "found something that is no file"),
        (_binary(Path("x" * 300)), "File name too long"),
        (_script, "found a script"),
        (_missing_library, "needs the library libgone.so, which was not found"),
        (lambda folder: Source(folder / "nosuch"), "found no such folder"),
        (_two_pairs, "found other, scx_ktstr"),
        (_unreadable_source, "odd.h: Input/output error"),
    ],
)
def test_whatever_is_wrong_with_one_scheduler_is_an_error_of_ktstrs(
    target: Build, tmp_path: Path, broken: Callable[[Path], SchedulerKind], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        find(broken(tmp_path), target)
    assert message in caught.value.message
    assert find(Source(SCX_KTSTR), target).name == "scx_ktstr@6.14"


@pytest.mark.parametrize("missing", ["tools", "compilers"])
def test_what_the_host_lacks_is_an_error_of_the_schedulers_that_need_it(
    target: Build, program: Path, tmp_path: Path, missing: str
) -> None:
    environ = {"PATH": str(tmp_path)} if missing == "compilers" else os.environ
    tools = no_tools if missing == "tools" else target.tools
    bare = Build("6.14", "identity", "kernel:6.14", target.btf, tools, target.cache, environ)
    with pytest.raises(HostError) as caught:
        find(Source(SCX_KTSTR), bare)
    assert isinstance(caught.value, KtstrError)
    assert find(Binary(program), bare).binary == program
