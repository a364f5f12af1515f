from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.host.elf import (
    BadElf,
    Libraries,
    dynamic,
    find_library,
    needed_libraries,
    parse,
    read_dynamic,
    system_folders,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """main needs libb, which needs liba; liba is found through libb's RUNPATH."""
    folder = tmp_path_factory.mktemp("elf")
    (folder / "sub").mkdir()
    (folder / "a.c").write_text("int a(void) { return 1; }\n")
    (folder / "b.c").write_text("int a(void); int b(void) { return a(); }\n")
    (folder / "main.c").write_text("int b(void); int main(void) { return b(); }\n")
    for words in (
        "-shared -nostdlib -Wl,-soname,liba.so.1 -o sub/liba.so.1 a.c",
        "-shared -nostdlib -Wl,-soname,libb.so.1 -Wl,-rpath,$ORIGIN/sub -o libb.so.1 b.c sub/liba.so.1",
        "-o main main.c libb.so.1 sub/liba.so.1",
    ):
        subprocess.run(["gcc", *words.split()], cwd=folder, check=True)
    return folder


def test_dynamic_section_of_a_library_is_what_was_linked(built: Path) -> None:
    found = read_dynamic(built / "libb.so.1")
    assert (found.interpreter, found.soname, found.needed) == (None, "libb.so.1", ("liba.so.1",))
    assert found.runpath == ("$ORIGIN/sub",)
    assert read_dynamic(built / "main").interpreter == "/lib64/ld-linux-x86-64.so.2"


def test_closure_follows_runpath_and_folders(built: Path) -> None:
    assert needed_libraries(built / "libb.so.1", []) == Libraries({"liba.so.1": built / "sub/liba.so.1"}, {})


def test_closure_of_a_system_program_is_what_ldd_says() -> None:
    program = Path("/usr/bin/apt-get")
    listed = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True).stdout
    expected = {Path(line.split()[0]).name for line in listed.splitlines() if "linux-vdso" not in line}
    libraries = needed_libraries(program, system_folders())
    assert (set(libraries.found), libraries.missing) == (expected, {})


def test_a_missing_library_names_itself_and_who_needs_it(built: Path) -> None:
    libraries = needed_libraries(built / "main", [Path("/lib64"), Path("/lib/x86_64-linux-gnu")])
    assert libraries.missing["libb.so.1"] == built / "main"


def test_a_library_for_another_machine_is_passed_over(built: Path, tmp_path: Path) -> None:
    raw = bytearray((built / "libb.so.1").read_bytes())
    raw[18:20] = struct.pack("<H", 183)  # EM_AARCH64
    (tmp_path / "libb.so.1").write_bytes(raw)
    assert find_library("libb.so.1", [tmp_path, built]) == built / "libb.so.1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((0, b"\x7fELX"), "first bytes are 7f 45 4c 58"),
        ((4, b"\x01"), "a 32-bit ELF file"),
        ((5, b"\x02"), "big-endian"),
        ((18, struct.pack("<H", 183)), r"machine number 183, expected 62"),
        ((32, struct.pack("<Q", 1 << 62)), "program header table lies at"),
        ((40, struct.pack("<Q", 1 << 62)), "section header table lies at"),
        ((62, struct.pack("<H", 0xFFF0)), "section name table is number 65520"),
    ],
)
def test_a_damaged_header_is_refused_with_its_reason(built: Path, change: tuple[int, bytes], words: str) -> None:
    raw = bytearray((built / "main").read_bytes())
    at, new = change
    raw[at : at + len(new)] = new
    with pytest.raises(BadElf, match=words):
        parse(bytes(raw))


def test_an_empty_file_and_a_text_file_are_no_programs(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("#!/bin/sh\n")
    with pytest.raises(BadElf, match="the file is empty"):
        needed_libraries(tmp_path / "empty", [])
    with pytest.raises(BadElf, match="first bytes are 23 21 2f 62"):
        needed_libraries(tmp_path / "text", [])


@settings(max_examples=300)
@given(data=st.data())
def test_any_damage_is_read_or_refused_never_a_crash(built: Path, data: st.DataObject) -> None:
    raw = bytearray((built / "libb.so.1").read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=12)):
        raw[at] = data.draw(st.integers(0, 255))
    for at in data.draw(st.lists(st.integers(0, 64), max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        elf = parse(bytes(raw[:cut]))
        dynamic(elf)
        list(elf.notes())
        elf.section(".dynstr")
    except BadElf:
        pass
