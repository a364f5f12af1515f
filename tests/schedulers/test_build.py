from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import HostError, InputError
from ktstr.schedulers.build import SchedulerBinary, build, fit_skeleton, inputs_digest, load_built, scheduler_name
from ktstr.schedulers.toolchain import Toolchain
from ktstr.tools.pinned import BpfTools

from .conftest import SCX_KTSTR

CHAIN = Toolchain("clang", "gcc", ("bpftool",), Path("include"), Path("lib"), (("clang", "19"),))

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


def test_digest_is_of_contents_not_of_place_or_time(tmp_path: Path) -> None:
    one, two = _copy(tmp_path, "one"), _copy(tmp_path, "two")
    os.utime(two / "scx_ktstr.c", (1, 1))
    (two / "README.md").write_text("rewritten")
    (two / "notes.txt").write_text("new")
    assert inputs_digest(one, "btf", CHAIN) == inputs_digest(two, "btf", CHAIN)


@pytest.mark.parametrize("edited", ["scx_ktstr.c", "scx_ktstr.bpf.c", "scx_ktstr.h", "include/new.h"])
def test_digest_changes_with_any_source_file(tmp_path: Path, edited: str) -> None:
    one, two = _copy(tmp_path, "one"), _copy(tmp_path, "two")
    (two / edited).parent.mkdir(exist_ok=True)
    with (two / edited).open("a") as file:
        file.write("/* */\n")
    assert inputs_digest(one, "btf", CHAIN) != inputs_digest(two, "btf", CHAIN)


def test_digest_changes_when_a_file_is_renamed(tmp_path: Path) -> None:
    one, two = _copy(tmp_path, "one"), _copy(tmp_path, "two")
    (two / "compat.bpf.h").rename(two / "other.bpf.h")
    assert inputs_digest(one, "btf", CHAIN) != inputs_digest(two, "btf", CHAIN)


def test_digest_changes_with_the_kernel_and_with_the_tools() -> None:
    newer = replace(CHAIN, versions=(("clang", "20"),))
    moved = replace(CHAIN, bpftool=("x/bpftool",), include=Path("x/include"), library=Path("x/lib"))
    base = inputs_digest(SCX_KTSTR, "btf", CHAIN)
    assert base != inputs_digest(SCX_KTSTR, "other btf", CHAIN)
    assert base != inputs_digest(SCX_KTSTR, "btf", newer)
    assert base == inputs_digest(SCX_KTSTR, "btf", moved)


def test_a_missing_source_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such: found no such folder"):
        scheduler_name(tmp_path / "no-such")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ((), "found 0"),
        (("a.bpf.c",), r"found 1 \*\.bpf\.c and no loader"),
        (("a.c",), "found 0"),
        (("a.bpf.c", "a.c", "b.bpf.c", "b.c"), "found a, b"),
    ],
)
def test_a_folder_without_exactly_one_pair_is_refused(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=found):
        scheduler_name(tmp_path)


def test_a_bpf_part_without_loader_beside_a_pair_does_not_matter(tmp_path: Path) -> None:
    for name in ("a.bpf.c", "a.c", "lib.bpf.c"):
        (tmp_path / name).write_text("")
    assert scheduler_name(tmp_path) == "a"


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
    again = build(_copy(tmp_path, "a much longer name"), kernel_btf, tools, tmp_path / "some" / "where")
    assert (again.digest, again.inputs) == (scx_ktstr.digest, scx_ktstr.inputs)
    assert again.path.stat().st_mode & 0o777 == 0o755


def test_only_results_are_left_behind(kernel_btf: Path, tools: BpfTools, tmp_path: Path) -> None:
    build(_copy(tmp_path, "source"), kernel_btf, tools, tmp_path / "out" / "built")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["built"]
    left = sorted(path.name for path in (tmp_path / "out" / "built").iterdir())
    assert left == ["metadata.json", "scx_ktstr", "scx_ktstr.bpf.o"]
    assert sorted(p.name for p in (tmp_path / "source").iterdir()) == sorted(p.name for p in SCX_KTSTR.iterdir())


def test_any_folder_of_the_convention_builds(
    tiny: Path, kernel_btf: Path, tools: BpfTools, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    built = build(tiny, kernel_btf, tools, tmp_path / "out")
    assert built.path.name == "tiny-sched"
    assert os.waitstatus_to_exitcode(os.system(str(built.path))) == 0
    assert capfd.readouterr().out == "tiny 1 1000\n"


def test_built_is_found_again_until_anything_in_it_changes(tiny: Path, kernel_btf: Path, tools: BpfTools) -> None:
    outdir = tiny.parent / "out"
    built = build(tiny, kernel_btf, tools, outdir)
    assert load_built(outdir, built.inputs) == built
    assert load_built(outdir, "another digest") is None
    with built.path.open("ab") as file:
        file.write(b"\0")
    assert load_built(outdir, built.inputs) is None


def test_a_name_given_to_the_inputs_is_the_one_recorded(
    tiny: Path, kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    built = build(tiny, kernel_btf, tools, tmp_path / "out", inputs="of the graph")
    assert json.loads(built.metadata.read_text())["inputs_digest"] == built.inputs == "of the graph"
    assert load_built(tmp_path / "out", "of the graph") == built


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"binary": 3}', '{"binary": "../../bin/sh"}'])
def test_metadata_that_is_missing_or_odd_means_not_built(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    assert load_built(tmp_path, "inputs") is None


@pytest.mark.parametrize("broken", ["tiny-sched.bpf.c", "tiny-sched.c"])
def test_a_syntax_error_shows_file_line_and_compiler_and_keeps_the_old_build(
    tiny: Path, kernel_btf: Path, tools: BpfTools, broken: str
) -> None:
    outdir = tiny.parent / "out"
    before = build(tiny, kernel_btf, tools, outdir)
    (tiny / broken).write_text("int good;\nint bad bad;\n")
    with pytest.raises(InputError) as caught:
        build(tiny, kernel_btf, tools, outdir)
    assert f"{tiny / broken} does not compile:" in caught.value.message
    assert f"{broken}:2:" in caught.value.message
    assert load_built(outdir, before.inputs) == before
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["out", "tiny"]


def test_missing_clang_leaves_nothing_and_names_the_package(
    kernel_btf: Path, tools: BpfTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        build(SCX_KTSTR, kernel_btf, tools, tmp_path / "out")
    assert caught.value.fix == "apt-get install --no-install-recommends clang-19"
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_without_btf_is_the_users_choice_to_change(tools: BpfTools, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no BTF"):
        build(SCX_KTSTR, None, tools, tmp_path / "out")


def test_a_kernel_without_sched_ext_is_said_to_be_one(tools: BpfTools, tmp_path: Path) -> None:
    (tmp_path / "vmlinux.btf").write_bytes(b"\x9f\xeb\x01\0task_struct\0")
    with pytest.raises(InputError, match="found no sched_ext_ops"):
        build(SCX_KTSTR, tmp_path / "vmlinux.btf", tools, tmp_path / "out")


def test_damaged_btf_is_an_error_with_bpftools_words(tools: BpfTools, tmp_path: Path) -> None:
    (tmp_path / "vmlinux.btf").write_bytes(b"garbage\0sched_ext_ops\0garbage")
    with pytest.raises(HostError, match="bpftool btf dump failed"):
        build(SCX_KTSTR, tmp_path / "vmlinux.btf", tools, tmp_path / "out")


def test_an_output_folder_that_cannot_be_made_is_a_host_error(
    kernel_btf: Path, tools: BpfTools, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write the scheduler scx_ktstr"):
        build(SCX_KTSTR, kernel_btf, tools, tmp_path / "file" / "out")


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
