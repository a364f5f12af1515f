"""The kernel as it is stored: what booting and drgn need of vmlinux, with its DWARF compressed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.host.command import run
from ktstr.host.elf import BadElf, Elf, opened
from ktstr.kernels.image import BadImage, check_vmlinux

_OBJCOPY_S = 600.0
# Symbols, types, DWARF and unwinding tables, where the kernel has them.
_KEPT = (".symtab", ".strtab", ".BTF", ".debug_info", ".orc_unwind", ".orc_unwind_ip")


def strip_vmlinux(source: Path, target: Path, cancel: Cancel | None = None) -> None:
    """Write ``source`` to ``target`` without relocations and comments, debug sections zlib-compressed.

    Program headers, symbols, BTF, ORC and notes stay as they are. Raises HostError when objcopy fails or its
    outcome is not the same kernel, Cancelled when ``cancel`` is set meanwhile.
    """
    command = ["objcopy", "--compress-debug-sections=zlib", "-R", ".rela.*", "-R", ".comment", str(source), str(target)]
    if shutil.which(command[0]) is None:
        raise HostError("objcopy is not installed", fix="apt-get install binutils")
    try:
        done = run(command, {**os.environ, "LC_ALL": "C"}, cancel or Cancel(), timeout_s=_OBJCOPY_S)
    except subprocess.TimeoutExpired:
        raise HostError(f"{target}: objcopy of {source} did not end within {_OBJCOPY_S:g} s") from None
    done.check_room(target.parent)
    if done.status != 0:
        words = done.errors.strip().splitlines()[-1:] or ["no output"]
        raise HostError(f"{target}: objcopy of {source} failed: {words[0]}", fix="another binutils")
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
