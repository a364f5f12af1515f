"""What a program needs to start, found on this machine: its loader and its shared libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ktstr.errors import InputError
from ktstr.host.elf import BadElf, Dynamic, needed_libraries, read_dynamic, system_folders


@dataclass(frozen=True)
class Needed:
    """The files a program needs beside itself, each where it is here.

    ``loaders``: by the absolute path at which the program names it; empty for a static program.
    ``libraries``: the closure of DT_NEEDED, by library name, without the loader.
    """

    loaders: Mapping[str, Path]
    libraries: Mapping[str, Path]


def library_path(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of ``LD_LIBRARY_PATH``; relative and empty items are passed over."""
    return tuple(Path(item) for item in environ.get("LD_LIBRARY_PATH", "").split(":") if item.startswith("/"))


def needed_files(program: Path, folders: Sequence[Path], what: str) -> Needed:
    """What ``program`` needs, sought in its RUNPATH, then in ``folders``, then where this machine's loader looks.

    ``what`` is what messages call the program. Raises InputError naming the library that is missing and the file
    that needs it, or saying why ``program`` is no x86-64 program or cannot be read.
    """
    own = read_program(program, what)
    try:
        libraries = needed_libraries(program, [*folders, *system_folders()])
    except BadElf as err:
        raise InputError(f"{what} {program}: what it needs cannot be told: {err}") from None
    except OSError as err:
        raise InputError(f"{what} {program}: {err.filename}: {err.strerror}") from None
    found, missing = dict(libraries.found), dict(libraries.missing)
    loaders = {}
    if own.interpreter is not None:
        loaders[own.interpreter] = _loader(own.interpreter, f"{what} {program}", found)
        missing.pop(PurePosixPath(own.interpreter).name, None)
        found.pop(PurePosixPath(own.interpreter).name, None)
    if missing:
        name, needer = next(iter(missing.items()))
        raise InputError(
            f"{what} {program}: {needer.name} needs the library {name}, which was not found",
            fix=f"install {name}, set LD_LIBRARY_PATH to its folder, or link statically",
        )
    return Needed(loaders, found)


def read_program(path: Path, what: str) -> Dynamic:
    """What the loader must know of ``path``. Raises InputError when it is no x86-64 program or cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                raise InputError(f"{what} {path}: is a script (the guest has no shell), expected an x86-64 program")
        return read_dynamic(path)
    except BadElf as err:
        raise InputError(f"{what} {path}: is no x86-64 program: {err}") from None
    except OSError as err:
        raise InputError(f"{what} {path}: {err.strerror}") from None


def _loader(interpreter: str, program: str, found: Mapping[str, Path]) -> Path:
    """The file at the path the program names as its loader, else the machine's own of that name."""
    parts = PurePosixPath(interpreter).parts
    if parts[:1] != ("/",) or ".." in parts or "//" in interpreter:
        raise InputError(f"{program}: its loader is {interpreter!r}, expected an absolute path")
    path = Path(interpreter)
    loader = path if path.is_file() else found.get(path.name)
    if loader is None:
        raise InputError(
            f"{program}: its loader {interpreter} was not found",
            fix="install the libc it was built for, or link statically",
        )
    return loader
