"""``path:`` schedulers: a program that somebody else made, taken as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import Changed, InputError
from ktstr.files import file_sha256
from ktstr.host.libraries import library_path, needed_files
from ktstr.schedulers.artifact import Artifact

if TYPE_CHECKING:
    from ktstr.record.sidecar import ResolveSource

_ELF_HEAD = 20
_ELF64_LITTLE = b"\x7fELF\x02\x01"
_EXECUTABLE_TYPES = (2, 3)  # ET_EXEC, ET_DYN (position independent)
_EM_X86_64 = 62
_FOR_SCRIPTS = "name its interpreter as the program, and the script among its files and arguments"


def binary_artifact(
    name: str, path: Path, where: str, environ: Mapping[str, str], found: ResolveSource = "path"
) -> Artifact:
    """The artifact of the scheduler ``name``, declared at ``where`` as the program ``path``, which was ``found`` so.

    Libraries are sought in LD_LIBRARY_PATH too. Raises InputError when there is no such file, it is no x86-64
    program, a library of it is missing, or one of them cannot be read.
    """
    folders = library_path(environ)
    planned = _digests(path, folders, where)

    def verify() -> None:
        if _digests(path, folders, where) != planned:
            raise Changed(f"{where}: scheduler binary {path}: it or a library that it needs")

    return Artifact(name, planned.program, planned.libraries, path, verify, folders, planned.size, resolve_source=found)


@dataclass(frozen=True)
class _Digests:
    program: str
    libraries: str
    size: int  # of all of them, in bytes


def _digests(path: Path, folders: tuple[Path, ...], where: str) -> _Digests:
    """What ``path``, its name and its libraries are now. Raises InputError that begins with ``where``."""
    check_binary(path, where)
    needed = needed_files(path, folders, f"{where}: scheduler binary")
    try:
        program = hashlib.sha256(f"{path.name}\n{file_sha256(path)}".encode()).hexdigest()
        files = sorted((*needed.loaders.items(), *needed.libraries.items()))
        libraries = hashlib.sha256("".join(f"{name} {file_sha256(file)}\n" for name, file in files).encode())
        size = sum(file.stat().st_size for file in (path, *(file for _, file in files)))
    except OSError as err:
        raise InputError(f"{where}: scheduler binary {path}: {err.filename}: {err.strerror}") from None
    return _Digests(program, libraries.hexdigest(), size)


def check_binary(path: Path, where: str, what: str = "scheduler binary") -> Path:
    """``path`` if an x86-64 guest could execute it; ``what``: what messages call it.

    Raises InputError that begins with ``where``.
    """
    try:
        if not path.is_file():
            raise InputError(f"{where}: {what} {path}: {_not_a_file(path)}, expected a program")
        if not path.stat().st_mode & 0o111:
            raise InputError(f"{where}: {what} {path} is not executable", fix=f"chmod +x {path}")
        with path.open("rb") as file:
            head = file.read(_ELF_HEAD)
    except OSError as err:
        raise InputError(f"{where}: {what} {path}: {err.strerror}") from None
    problem = _elf_problem(head)
    if problem is not None:
        raise InputError(
            f"{where}: {what} {path}: {problem}, expected an x86-64 ELF program",
            fix=_FOR_SCRIPTS if head.startswith(b"#!") else None,
        )
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
