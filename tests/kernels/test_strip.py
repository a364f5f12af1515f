"""What is stored of a vmlinux: everything but relocations, its DWARF compressed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.host.elf import BadElf, opened
from ktstr.kernels.strip import strip_vmlinux
from tests.host.waits import cancelled_soon, failing_tool, hanging_tool

PVH_NOTE = """
__asm__(".pushsection .note.Xen,\\"a\\",@note\\n.long 4,4,18\\n.asciz \\"Xen\\"\\n.long _start\\n.popsection\\n"
        ".pushsection .BTF,\\"\\",@progbits\\n.byte 0x9f,0xeb\\n.popsection\\n");
int answer = 42;
void _start(void) { answer++; }
"""


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    """An executable with what a vmlinux has: a PVH note, BTF, symbols, DWARF, relocations."""
    source, target = tmp_path / "v.c", tmp_path / "vmlinux"
    source.write_text(PVH_NOTE + "".join(f"struct s{i} {{ long a{i}, b{i}; }} v{i};\n" for i in range(500)))
    subprocess.run(
        ["gcc", "-g", "-O1", "-static", "-nostdlib", "-no-pie", "-Wl,--emit-relocs", str(source), "-o", str(target)],
        check=True,
    )
    return target


def sections(path: Path) -> str:
    return subprocess.run(["readelf", "-SW", str(path)], capture_output=True, text=True, check=True).stdout


def test_what_boots_and_what_drgn_reads_stays_and_dwarf_is_compressed(vmlinux: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped"
    strip_vmlinux(vmlinux, stripped)
    before, after = sections(vmlinux), sections(stripped)
    assert ".rela.text" in before and ".rela.text" not in after and ".comment" not in after
    for name in (".symtab", ".BTF", ".note.Xen", ".debug_info", ".debug_line"):
        assert name in after
    debug_info = next(line for line in after.splitlines() if " .debug_info " in line)
    assert " C " in debug_info
    assert stripped.stat().st_size < vmlinux.stat().st_size
    symbols = subprocess.run(["nm", str(stripped)], capture_output=True, text=True, check=True).stdout
    assert " T _start\n" in symbols and " D answer\n" in symbols
    with opened(vmlinux) as old, opened(stripped) as new:
        assert new.entry == old.entry
        assert list(new.notes()) == list(old.notes())
    decoded = subprocess.run(
        ["readelf", "--debug-dump=info", str(stripped)], capture_output=True, text=True, check=True
    ).stdout
    assert "DW_AT_name" in decoded and "answer" in decoded


def test_what_is_no_elf_file_is_an_error_with_objcopys_words(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no kernel")
    with pytest.raises((HostError, BadElf), match=r"(?i)format|recogni|ELF"):
        strip_vmlinux(tmp_path / "text", tmp_path / "out")


def test_a_file_that_is_no_kernel_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "v.c"
    source.write_text("void _start(void) {}\n")
    subprocess.run(["gcc", "-static", "-nostdlib", "-no-pie", str(source), "-o", str(tmp_path / "a")], check=True)
    with pytest.raises(HostError, match="it is no kernel any more"):
        strip_vmlinux(tmp_path / "a", tmp_path / "out")


def test_an_objcopy_that_hangs_ends_by_the_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging_tool(tmp_path / "bin/objcopy")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    cancel = Cancel()
    with cancelled_soon(cancel):
        strip_vmlinux(tmp_path / "vmlinux", tmp_path / "out", cancel)


def test_an_objcopy_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="objcopy is not installed"):
        strip_vmlinux(tmp_path / "vmlinux", tmp_path / "out")


def test_an_objcopy_without_room_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_tool(tmp_path / "bin/objcopy", "objcopy: out: Disk quota exceeded")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(HostError, match="the disk is full: this user's quota is used up"):
        strip_vmlinux(tmp_path / "vmlinux", tmp_path / "out")
