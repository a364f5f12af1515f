"""Where the scheduler of a declaration comes from, and whether the binary it names can run in a guest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from ktstr.config.model import SchedulerDecl
from ktstr.errors import InputError

ResolveSource: TypeAlias = Literal["path", "auto_built", "not_found"]

_ELF_HEAD = 20
_ELF64_LITTLE = b"\x7fELF\x02\x01"
_EXECUTABLE_TYPES = (2, 3)  # ET_EXEC, ET_DYN (position independent)
_EM_X86_64 = 62


def resolve_source(decl: SchedulerDecl) -> ResolveSource:
    """The sidecar's word for how the binary was found; ``not_found`` is that of a kernel's own scheduler."""
    if decl.source is not None:
        return "auto_built"
    return "not_found" if decl.path is None else "path"


def find_binary(decl: SchedulerDecl) -> Path | None:
    """The binary a ``path:`` names, checked; None for a built-in or one that is built.

    Raises InputError when there is none, or it is no x86-64 program.
    """
    return None if decl.path is None else check_binary(decl.path, decl.where or decl.name)


def check_binary(path: Path, where: str) -> Path:
    """``path`` if an x86-64 guest could execute it. Raises InputError that begins with ``where``."""
    try:
        if not path.is_file():
            raise InputError(f"{where}: scheduler binary {path}: {_not_a_file(path)}, expected a program")
        if not path.stat().st_mode & 0o111:
            raise InputError(f"{where}: scheduler binary {path} is not executable", fix=f"chmod +x {path}")
        with path.open("rb") as file:
            head = file.read(_ELF_HEAD)
    except OSError as err:
        raise InputError(f"{where}: scheduler binary {path}: {err.strerror}") from None
    problem = _elf_problem(head)
    if problem is not None:
        raise InputError(f"{where}: scheduler binary {path}: {problem}, expected an x86-64 ELF program")
    return path


def _not_a_file(path: Path) -> str:
    return "found something that is no file" if path.exists() else "found no such file"


def _elf_problem(head: bytes) -> str | None:
    if head.startswith(b"#!"):
        return "found a script (the guest has no shell)"
    if len(head) < _ELF_HEAD or not head.startswith(b"\x7fELF"):
        return "found no ELF header"
    if not head.startswith(_ELF64_LITTLE) or int.from_bytes(head[18:20], "little") != _EM_X86_64:
        return "found a program for another machine"
    if int.from_bytes(head[16:18], "little") not in _EXECUTABLE_TYPES:
        return "found an ELF file that is no program"
    return None
