"""The kernel as it is stored: what booting and drgn need of vmlinux, with its DWARF compressed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ktstr.errors import HostError
from ktstr.host.elf import BadElf, Elf, opened
from ktstr.kernels.image import BadImage, check_vmlinux

# Symbols, types, DWARF and unwinding tables, where the kernel has them.
_KEPT = (".symtab", ".strtab", ".BTF", ".debug_info", ".orc_unwind", ".orc_unwind_ip")


def strip_vmlinux(source: Path, target: Path) -> None:
    """Write ``source`` to ``target`` without relocations and comments, debug sections zlib-compressed.

    Program headers, symbols, BTF, ORC and notes stay as they are. Raises HostError when objcopy fails or its
    outcome is not the same kernel.
    """
    command = ["objcopy", "--compress-debug-sections=zlib", "-R", ".rela.*", "-R", ".comment", str(source), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except FileNotFoundError:
        raise HostError("objcopy is not installed", fix="apt-get install binutils") from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise HostError(f"{target}: objcopy of {source} failed: {words[0]}", fix="free some disk space")
    with opened(source) as before, opened(target) as after:
        _check(source, before, after)


def _check(source: Path, before: Elf, after: Elf) -> None:
    try:
        check_vmlinux(after)
    except (BadImage, BadElf) as err:
        raise HostError(f"{source}: stripped, it is no kernel any more: {err}", fix="another binutils") from None
    there = {section.name for section in before.sections}
    lost = [name for name in _KEPT if name in there and name not in {section.name for section in after.sections}]
    if lost or before.entry != after.entry or _loads(before) != _loads(after):
        raise HostError(f"{source}: objcopy lost {', '.join(lost) or 'program headers'}", fix="another binutils")


def _loads(elf: Elf) -> list[tuple[int, int, int]]:
    """What gets loaded where; file offsets may differ."""
    return [(s.vaddr, s.file_size, s.mem_size) for s in elf.segments if s.kind == 1]
