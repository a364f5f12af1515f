from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.errors import Changed, HostError, InputError
from ktstr.schedulers.build import SchedulerBinary, build, fit_skeleton, load_built
from ktstr.schedulers.inputs import read_inputs
from ktstr.schedulers.toolchain import Toolchain, find_toolchain
from ktstr.tools.pinned import BpfTools
from tests.host.waits import cancelled_soon, failing_tool, hanging_tool

from .conftest import SCX_KTSTR, build_now, inputs_now

# A scheduler that shares nothing with ours: other name, headers in include/, the other skeleton name.
TINY_BPF = """\
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tiny-types.h"
char _license[] SEC("license") = "GPL";
const volatile tiny_number number = 1;
SEC(".struct_ops.link")
struct sched_ext_ops tiny_ops = { .timeout_ms = 1000, .name = "tiny" };
"""
TINY_C = """\
#include <stdio.h>
#include "tiny-types.h"
#include "tiny-sched.bpf.skel.h"
int main(void)
{
	struct tiny_sched *skel = tiny_sched__open();
	tiny_number number = skel ? skel->rodata->number : 0;
	printf("tiny %u %u\\n", number, skel ? skel->struct_ops.tiny_ops->timeout_ms : 0);
	return !skel;
}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    source = tmp_path / "tiny"
    (source / "include").mkdir(parents=True)
    (source / "tiny-sched.bpf.c").write_text(TINY_BPF)
    (source / "tiny-sched.c").write_text(TINY_C)
    (source / "include" / "tiny-types.h").write_text("typedef unsigned int tiny_number;\n")
    return source


def _copy(tmp_path: Path, name: str) -> Path:
    return shutil.copytree(SCX_KTSTR, tmp_path / name)


def test_our_scheduler_compiles_without_a_warning(scx_ktstr: SchedulerBinary) -> None:
    assert json.loads(scx_ktstr.metadata.read_text())["warnings"] == ""


def test_metadata_tells_inputs_output_and_tools(scx_ktstr: SchedulerBinary, kernel_btf: Path) -> None:
    known = json.loads(scx_ktstr.metadata.read_text())
    assert known["inputs_digest"] == scx_ktstr.inputs
    assert known["binary_sha256"] == scx_ktstr.digest == hashlib.sha256(scx_ktstr.path.read_bytes()).hexdigest()
    assert known["btf_sha256"] == hashlib.sha256(kernel_btf.read_bytes()).hexdigest()
    assert set(known["toolchain"]) == {"clang", "cc", "bpf"}


def test_same_sources_elsewhere_give_the_same_bytes(
    scx_ktstr: SchedulerBinary, kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    again = build_now(_copy(tmp_path, "a much longer name"), kernel_btf, tools, tmp_path / "some" / "where")
    assert (again.digest, again.inputs) == (scx_ktstr.digest, scx_ktstr.inputs)
    assert again.path.stat().st_mode & 0o777 == 0o755


def test_only_results_are_left_behind(kernel_btf: Path, tools: BpfTools, tmp_path: Path) -> None:
    build_now(_copy(tmp_path, "source"), kernel_btf, tools, tmp_path / "out" / "built")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["built"]
    left = sorted(path.name for path in (tmp_path / "out" / "built").iterdir())
    assert left == ["metadata.json", "scx_ktstr", "scx_ktstr.bpf.o"]
    assert sorted(p.name for p in (tmp_path / "source").iterdir()) == sorted(p.name for p in SCX_KTSTR.iterdir())


def test_any_folder_of_the_convention_builds(
    tiny: Path, kernel_btf: Path, tools: BpfTools, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    built = build_now(tiny, kernel_btf, tools, tmp_path / "out")
    assert built.path.name == "tiny-sched"
    assert os.waitstatus_to_exitcode(os.system(str(built.path))) == 0
    assert capfd.readouterr().out == "tiny 1 1000\n"


def test_built_is_found_again_until_anything_in_it_changes(tiny: Path, kernel_btf: Path, tools: BpfTools) -> None:
    outdir = tiny.parent / "out"
    built = build_now(tiny, kernel_btf, tools, outdir)
    assert load_built(outdir, built.inputs) == built
    assert load_built(outdir, "another digest") is None
    with built.path.open("ab") as file:
        file.write(b"\0")
    assert load_built(outdir, built.inputs) is None


def test_what_stands_for_the_kernel_is_in_the_digest_recorded(
    tiny: Path, kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    inputs = read_inputs(tiny, "of the graph", find_toolchain(tools, os.environ))
    built = build(inputs, kernel_btf, tmp_path / "out")
    assert json.loads(built.metadata.read_text())["inputs_digest"] == built.inputs == inputs.digest
    assert load_built(tmp_path / "out", inputs.digest) == built


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "{}", '{"binary": 3}', '{"binary": "../../bin/sh"}', "[" * 99999,
     '{"binary": "a", "binary": "b"}', '{"binary": "\\u0000"}'],
)  # fmt: skip
def test_metadata_that_is_missing_or_odd_means_not_built(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    assert load_built(tmp_path, "inputs") is None


@pytest.mark.parametrize("broken", ["tiny-sched.bpf.c", "tiny-sched.c"])
def test_a_syntax_error_shows_file_line_and_compiler_and_keeps_the_old_build(
    tiny: Path, kernel_btf: Path, tools: BpfTools, broken: str
) -> None:
    outdir = tiny.parent / "out"
    before = build_now(tiny, kernel_btf, tools, outdir)
    (tiny / broken).write_text("int good;\nint bad bad;\n")
    with pytest.raises(InputError) as caught:
        build_now(tiny, kernel_btf, tools, outdir)
    assert f"{tiny / broken} does not compile:" in caught.value.message
    assert f"{broken}:2:" in caught.value.message
    assert load_built(outdir, before.inputs) == before
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["out", "tiny"]


def test_missing_clang_leaves_nothing_and_names_the_package(
    kernel_btf: Path, tools: BpfTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        build_now(SCX_KTSTR, kernel_btf, tools, tmp_path / "out")
    assert caught.value.fix == "apt-get install --no-install-recommends clang-19"
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_without_btf_is_the_users_choice_to_change(tools: BpfTools, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no BTF"):
        build_now(SCX_KTSTR, None, tools, tmp_path / "out")


def test_a_kernel_without_sched_ext_is_said_to_be_one(tools: BpfTools, tmp_path: Path) -> None:
    (tmp_path / "vmlinux.btf").write_bytes(b"\x9f\xeb\x01\0task_struct\0")
    with pytest.raises(InputError, match="found no sched_ext_ops"):
        build_now(SCX_KTSTR, tmp_path / "vmlinux.btf", tools, tmp_path / "out")


def test_damaged_btf_is_an_error_with_bpftools_words(tools: BpfTools, tmp_path: Path) -> None:
    (tmp_path / "vmlinux.btf").write_bytes(b"garbage\0sched_ext_ops\0garbage")
    with pytest.raises(HostError, match="bpftool btf dump failed"):
        build_now(SCX_KTSTR, tmp_path / "vmlinux.btf", tools, tmp_path / "out")


def test_an_output_folder_that_cannot_be_made_is_a_host_error(
    kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="file/out: cannot be written: File exists"):
        build_now(SCX_KTSTR, kernel_btf, tools, tmp_path / "file" / "out")


HIDDEN_C = '#include "tiny.skel.h"\n#define INNER "../inner.inc"\n#include INNER\nint main(void) { return number; }\n'
HIDDEN_BPF = """\
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#ifdef SEC
#include "../macros.inc"
#endif
char _license[] SEC("license") = "GPL";
"""


def test_only_an_include_that_no_text_shows_is_kept_by_the_build(
    kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    source = tmp_path / "tiny"
    source.mkdir()
    (source / "tiny.bpf.c").write_text(HIDDEN_BPF)
    (source / "tiny.c").write_text(HIDDEN_C)
    (tmp_path / "inner.inc").write_text("static int number = 7;\n")
    (tmp_path / "macros.inc").write_text("#define MACRO 1\n")
    record = tmp_path / "records/files.json"
    planned = read_inputs(source, "btf", find_toolchain(tools, os.environ), record)
    assert "../macros.inc" in planned.files
    build(planned, kernel_btf, tmp_path / "out")
    assert json.loads(record.read_text()) == ["../inner.inc"]


def edits_while_it_compiles(folder: Path, compiler: str, edit: str) -> str:
    """A compiler that runs the shell command ``edit`` before it compiles."""
    wrapper = folder / Path(compiler).name
    asked = 'case "$*" in *--version*) ;; *) ' + edit + " ;; esac\n"
    wrapper.write_text(f'#!/bin/sh\n{asked}exec {compiler} "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


@pytest.mark.parametrize(
    "edit",
    ["echo 'int more;' >>include/tiny-types.h", "echo 'not C' >>tiny-sched.c", "rm include/tiny-types.h"],
)
def test_an_edit_while_it_compiles_stores_nothing(
    tiny: Path, kernel_btf: Path, tools: BpfTools, edit: str, tmp_path: Path
) -> None:
    planned = inputs_now(tiny, kernel_btf, tools)
    chain = replace(planned.toolchain, cc=edits_while_it_compiles(tmp_path, planned.toolchain.cc, edit))
    with pytest.raises(Changed, match=r"tiny.*: (include/tiny-types\.h|tiny-sched\.c) changed while ktstr was running"):
        build(replace(planned, toolchain=chain), kernel_btf, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_edit_since_the_plan_stores_nothing_and_compiles_nothing(
    tiny: Path, kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    planned = inputs_now(tiny, kernel_btf, tools)
    with (tiny / "tiny-sched.bpf.c").open("a") as file:
        file.write("int more;\n")
    compiled = tmp_path / "compiled"
    chain = replace(
        planned.toolchain, clang=edits_while_it_compiles(tmp_path, planned.toolchain.clang, f"touch {compiled}")
    )
    with pytest.raises(Changed, match=r"tiny-sched\.bpf\.c changed while ktstr was running"):
        build(replace(planned, toolchain=chain), kernel_btf, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not compiled.exists()


@pytest.fixture
def faked(tmp_path: Path) -> tuple[Toolchain, Path]:
    """A bpftool that does nothing, a clang that hangs, and what passes for a kernel's BTF."""
    btf, bin_dir = tmp_path / "vmlinux.btf", tmp_path / "bin"
    btf.write_bytes(b"\0sched_ext_ops\0")
    hanging_tool(bin_dir / "clang-19", "echo clang version 19.1.7")
    bpf = BpfTools(("true",), tmp_path, tmp_path / "libbpf.a", "7.5", "0" * 64)
    return find_toolchain(bpf, {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}"}), btf


def test_a_clang_that_hangs_ends_by_the_cancel(tiny: Path, faked: tuple[Toolchain, Path], tmp_path: Path) -> None:
    toolchain, btf = faked
    cancel = Cancel()
    with cancelled_soon(cancel, 1.0):
        build(read_inputs(tiny, "btf", toolchain), btf, tmp_path / "out" / "built", cancel)
    assert list((tmp_path / "out").iterdir()) == []


def test_bpftool_that_hangs_ends_by_the_cancel(tiny: Path, faked: tuple[Toolchain, Path], tmp_path: Path) -> None:
    toolchain = replace(faked[0], bpftool=(hanging_tool(tmp_path / "bpftool"),))
    cancel = Cancel()
    with cancelled_soon(cancel, 1.0):
        build(read_inputs(tiny, "btf", toolchain), faked[1], tmp_path / "out" / "built", cancel)


def test_a_full_disk_is_not_called_a_source_that_does_not_compile(
    tiny: Path, faked: tuple[Toolchain, Path], tmp_path: Path
) -> None:
    words = "x.o: No space left on device"
    failing_tool(Path(faked[0].clang), words, "echo clang version 19.1.7")
    for bpftool in ("true", failing_tool(tmp_path / "bpftool", words)):
        inputs = read_inputs(tiny, "btf", replace(faked[0], bpftool=(bpftool,)))
        with pytest.raises(HostError, match="out: the disk is full"):
            build(inputs, faked[1], tmp_path / "out" / "built")


SKELETON = """\
#define BPF_SKEL_SUPPORTS_MAP_AUTO_ATTACH 1
	s->map_skel_sz = 32;
	map->map = &obj->maps.ops;
	map->link = &obj->links.ops;
	s->progs[0].link = &obj->links.enqueue;
"""
OLD_HEADER = "struct bpf_map_skeleton {\n\tconst char *name;\n\tvoid **mmaped;\n};\nstruct x { int link; };\n"
NEW_HEADER = "struct bpf_map_skeleton {\n\tconst char *name;\n\tstruct bpf_link **link;\n};\n"


def test_skeleton_loses_the_map_link_an_old_libbpf_does_not_know() -> None:
    assert fit_skeleton(SKELETON, OLD_HEADER) == (
        "\ts->map_skel_sz = sizeof(*s->maps);\n"
        "\tmap->map = &obj->maps.ops;\n"
        "\ts->progs[0].link = &obj->links.enqueue;\n"
    )


def test_skeleton_is_left_alone_for_a_libbpf_that_knows_the_link() -> None:
    assert fit_skeleton(SKELETON, NEW_HEADER) == SKELETON
