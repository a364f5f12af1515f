"""What decides a scheduler that is built, known before it is, and what an edit in between does."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import Changed, InputError
from ktstr.schedulers.includes import ABSENT, prerequisites
from ktstr.schedulers.inputs import read_inputs, record_key, scheduler_name
from ktstr.schedulers.toolchain import Toolchain

from .conftest import SCX_KTSTR

CHAIN = Toolchain("clang", "gcc", ("bpftool",), Path("include"), Path("lib"), (("clang", "19"),))


BPF = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n#include "../common.h"\n'
LOADER = '#include <stdio.h>\n#include "tiny.skel.h"\n#include "../common.h"\n'


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A scheduler's folder with a file beside it that both halves include."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/tiny.bpf.c").write_text(BPF)
    (tmp_path / "tiny/tiny.c").write_text(LOADER)
    (tmp_path / "common.h").write_text("#define COMMON 1\n")
    return tmp_path / "tiny"


def _edit(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("/* edited */\n")


def _copy(tmp_path: Path, name: str) -> Path:
    return shutil.copytree(SCX_KTSTR, tmp_path / name)


def _digest(source: Path, kernel: str, toolchain: Toolchain) -> str:
    return read_inputs(source, kernel, toolchain).digest


def test_digest_is_of_contents_not_of_place_or_time(tmp_path: Path) -> None:
    one, two = _copy(tmp_path, "one"), _copy(tmp_path, "two")
    os.utime(two / "scx_ktstr.c", (1, 1))
    (two / "README.md").write_text("rewritten")
    (two / "notes.txt").write_text("new")
    assert _digest(one, "btf", CHAIN) == _digest(two, "btf", CHAIN)


@pytest.mark.parametrize("edited", ["scx_ktstr.c", "scx_ktstr.bpf.c", "scx_ktstr.h", "include/new.h"])
def test_digest_changes_with_any_source_file(tmp_path: Path, edited: str) -> None:
    one, two = _copy(tmp_path, "one"), _copy(tmp_path, "two")
    (two / edited).parent.mkdir(exist_ok=True)
    with (two / edited).open("a") as file:
        file.write("/* */\n")
    assert _digest(one, "btf", CHAIN) != _digest(two, "btf", CHAIN)


def test_digest_changes_when_a_file_is_renamed(tmp_path: Path) -> None:
    one, two = _copy(tmp_path, "one"), _copy(tmp_path, "two")
    (two / "compat.bpf.h").rename(two / "other.bpf.h")
    assert _digest(one, "btf", CHAIN) != _digest(two, "btf", CHAIN)


def test_digest_changes_with_the_kernel_and_with_the_tools() -> None:
    newer = replace(CHAIN, versions=(("clang", "20"),))
    moved = replace(CHAIN, bpftool=("x/bpftool",), include=Path("x/include"), library=Path("x/lib"))
    base = _digest(SCX_KTSTR, "btf", CHAIN)
    assert base != _digest(SCX_KTSTR, "other btf", CHAIN)
    assert base != _digest(SCX_KTSTR, "btf", newer)
    assert base == _digest(SCX_KTSTR, "btf", moved)


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


@pytest.mark.parametrize(
    ("included", "file"),
    [
        ('#include "../common.h"', "common.h"),
        ("#  include <../common.h>", "common.h"),
        ('#include "table.inc"', "tiny/table.inc"),
        ('#include "deep/../table.inc"', "tiny/table.inc"),
        ('#include_next "table.inc"', "tiny/include/table.inc"),
        ("#include <shared.inc>", "cpath/shared.inc"),
        ('#include "shared/types.inc"', "c_include_path/shared/types.inc"),
        ('#if 0\n#include "table.inc"\n#endif', "tiny/table.inc"),
        ('#embed "blob.bin"', "tiny/blob.bin"),
    ],
)
def test_a_file_that_is_included_is_an_input_wherever_it_lies(tiny: Path, included: str, file: str) -> None:
    home = tiny.parent
    (tiny / "deep").mkdir()
    search = {"CPATH": f"/nosuch:{home / 'cpath'}", "C_INCLUDE_PATH": str(home / "c_include_path")}
    chain = replace(CHAIN, variables=search)
    _edit(home / file)
    (tiny / "tiny.c").write_text(f"{LOADER}{included}\n")
    before = _digest(tiny, "btf", chain)
    assert _digest(tiny, "btf", chain) == before
    _edit(home / file)
    assert _digest(tiny, "btf", chain) != before


def test_a_header_above_a_linked_folder_is_the_one_that_the_compiler_reads(tiny: Path) -> None:
    """``..`` behind a link leads to where the link points, not back to where it stands."""
    deep = tiny.parent / "o/deep.inc"
    _edit(tiny.parent / "o/inc/a.inc")
    _edit(deep)
    (tiny / "include").symlink_to("../o/inc")
    with (tiny / "include/a.inc").open("a") as file:
        file.write('#include "../deep.inc"\n')
    (tiny / "tiny.c").write_text(f'{LOADER}#include "a.inc"\n')
    first = read_inputs(tiny, "btf", CHAIN, tiny.parent / "record")
    assert "../o/deep.inc" in first.files
    _edit(deep)
    assert _digest(tiny, "btf", CHAIN) != first.digest
    first.keep_unseen(["include/a.inc", "include/../deep.inc"])
    assert not (tiny.parent / "record").exists()
    _edit(tiny.parent / "o/only_the_compilers.inc")
    first.keep_unseen(["include/../only_the_compilers.inc"])
    second = read_inputs(tiny, "btf", CHAIN, tiny.parent / "record")
    assert second.files["../o/only_the_compilers.inc"] != ABSENT


def test_an_empty_item_of_the_search_path_is_the_source_folder(tiny: Path) -> None:
    (tiny / "tiny.c").write_text(f"{LOADER}#include <table.inc>\n")
    (tiny / "table.inc").write_text("")
    files = read_inputs(tiny, "btf", replace(CHAIN, variables={"CPATH": ":"})).files
    assert sorted(files) == ["../common.h", "table.inc", "tiny.bpf.c", "tiny.c"]


def test_what_an_included_file_includes_is_an_input_from_the_moment_it_does(tiny: Path) -> None:
    home = tiny.parent
    (home / "other").mkdir()
    (home / "other/inner.inc").write_text("1")
    apart = _digest(tiny, "btf", CHAIN)
    (home / "other/inner.inc").write_text("2")
    assert _digest(tiny, "btf", CHAIN) == apart
    (home / "common.h").write_text('#include "other/inner.inc"\n')
    joined = _digest(tiny, "btf", CHAIN)
    (home / "other/inner.inc").write_text("3")
    assert len({apart, joined, _digest(tiny, "btf", CHAIN)}) == 3


def test_a_header_that_comes_to_lie_before_another_is_an_input(tiny: Path) -> None:
    first, second = tiny.parent / "first", tiny.parent / "second"
    chain = replace(CHAIN, variables={"CPATH": f"{first}:{second}"})
    _edit(second / "shared.inc")
    _edit(first / "unrelated.inc")
    (tiny / "tiny.c").write_text(f"{LOADER}#include <shared.inc>\n")
    before = _digest(tiny, "btf", chain)
    _edit(first / "unrelated.inc")
    assert _digest(tiny, "btf", chain) == before
    _edit(first / "shared.inc")
    assert _digest(tiny, "btf", chain) != before


def test_files_that_include_each_other_are_each_read_once(tiny: Path) -> None:
    (tiny / "a.inc").write_text('#include "deep/../a.inc"\n#include "../tiny/b.inc"\n')
    (tiny / "b.inc").write_text('#include "a.inc"\n')
    (tiny / "deep").mkdir()
    (tiny / "tiny.c").write_text('#include "a.inc"\n')
    files = read_inputs(tiny, "btf", CHAIN).files
    assert {"a.inc", "tiny.c", "tiny.bpf.c", "../common.h"} <= set(files) and len(files) <= 6


def test_a_file_that_cannot_be_read_is_named(tiny: Path) -> None:
    (tiny / "odd.h").symlink_to("/proc/self/mem")  # reading its first page is an error, for root too
    with pytest.raises(InputError, match=r"scheduler source .*tiny: .*odd\.h: Input/output error"):
        read_inputs(tiny, "btf", CHAIN)


def test_an_option_in_the_environment_of_the_compilers_is_an_input(tiny: Path) -> None:
    base = _digest(tiny, "btf", CHAIN)
    assert _digest(tiny, "btf", replace(CHAIN, variables={"LIBRARY_PATH": "/opt/lib"})) != base
    assert _digest(tiny, "btf", replace(CHAIN, variables={"EDITOR": "vi", "CPATH": "/nosuch"})) == base


def _real_chain(folder: Path) -> Toolchain:
    """Compilers that say no more than what they are."""
    for name, line in (("clang", "clang version 19.1.7"), ("gcc", "gcc 14.2.0")):
        (folder / name).write_text(f"#!/bin/sh\necho '{line}'\n")
        (folder / name).chmod(0o755)
    versions = (("clang", "clang version 19.1.7"), ("cc", "gcc 14.2.0"), ("bpf", "7.5"))
    return replace(CHAIN, clang=str(folder / "clang"), cc=str(folder / "gcc"), versions=versions)


def test_inputs_stand_until_one_of_them_is_edited(tiny: Path) -> None:
    inputs = read_inputs(tiny, "btf", _real_chain(tiny.parent))
    (tiny / "README.md").write_text("no input")
    inputs.verify()
    _edit(tiny.parent / "common.h")
    with pytest.raises(Changed) as caught:
        inputs.verify()
    assert caught.value.message == f"scheduler source {tiny}: ../common.h changed while ktstr was running"
    assert (caught.value.fix, caught.value.exit_code) == ("run the command again", 3)


def test_inputs_that_come_or_go_are_named_too(tiny: Path) -> None:
    inputs = read_inputs(tiny, "btf", _real_chain(tiny.parent))
    (tiny / "tiny.bpf.c").unlink()
    for name in ("1.h", "2.h", "3.h"):
        _edit(tiny / name)
    with pytest.raises(Changed, match=r"tiny: 1\.h, 2\.h, 3\.h and 1 more changed"):
        inputs.verify()


def test_a_compiler_that_is_replaced_is_a_change(tiny: Path) -> None:
    inputs = read_inputs(tiny, "btf", _real_chain(tiny.parent))
    (tiny.parent / "gcc").write_text("#!/bin/sh\necho 'gcc 15.1.0'\n")
    with pytest.raises(Changed, match="scheduler tiny: a compiler changed"):
        inputs.verify()


def test_what_only_the_compilers_see_is_an_input_from_the_next_time_on(tiny: Path) -> None:
    record, home = tiny.parent / "records/files.json", tiny.parent
    _edit(home / "hidden.inc")
    first = read_inputs(tiny, "btf", CHAIN, record)
    first.keep_unseen(["tiny.c", "./tiny.bpf.c", "../tiny/../common.h"])
    assert not record.exists()
    first.keep_unseen(["tiny.c", "../hidden.inc"])
    second = read_inputs(tiny, "btf", CHAIN, record)
    assert set(second.files) - set(first.files) == {"../hidden.inc"}
    _edit(home / "hidden.inc")
    third = read_inputs(tiny, "btf", CHAIN, record)
    (home / "hidden.inc").unlink()
    assert len({first.digest, second.digest, third.digest, read_inputs(tiny, "btf", CHAIN, record).digest}) == 4


def test_a_record_made_in_this_run_is_no_edit(tiny: Path) -> None:
    record = tiny.parent / "records/files.json"
    _edit(tiny.parent / "hidden.inc")
    one, other = (read_inputs(tiny, kernel, _real_chain(tiny.parent), record) for kernel in ("btf", "other btf"))
    one.keep_unseen(["../hidden.inc"])
    other.verify()


@pytest.mark.parametrize("content", ["", "{", "{}", "3", "[3]", "[" * 100_000, '[{"a": 1, "a": 1}]'])
def test_a_damaged_record_is_as_good_as_none(tiny: Path, content: str) -> None:
    (tiny / "record").write_text(content)
    assert read_inputs(tiny, "btf", CHAIN, tiny / "record").digest == _digest(tiny, "btf", CHAIN)


def test_a_records_key_is_of_the_folder_and_the_search_path(tiny: Path) -> None:
    keys = [record_key(tiny, {}), record_key(tiny.parent, {}), record_key(tiny, {"CPATH": "/a"})]
    assert len(set(keys)) == 3
    assert record_key(tiny / "../tiny", {"EDITOR": "vi"}) == keys[0]


@pytest.mark.parametrize("compiler", ["clang-19", "gcc"])
def test_the_list_of_a_compiler_is_read_back_whole(tmp_path: Path, compiler: str) -> None:
    names = ["plain.h", "with space.h", "$dollar.h", "#hash.h", "deep/a-rather-long-name-of-a-file-that-wraps.h"]
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / "x.c").write_text("".join(f'#include "{name}"\n' for name in names))
    command = [compiler, "-MMD", "-MT", "all", "-MF", "x.d", "-c", "x.c", "-o", "x.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert prerequisites((tmp_path / "x.d").read_text()) == ["x.c", *names]
