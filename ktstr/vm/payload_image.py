"""Payloads and include files as parts of a guest's initramfs.

A payload has a folder of its own: its program in ``bin``, its libraries in ``lib``, its loader where the program names
it, and in ``files``, where it starts, what was declared to go with it, each file at its path relative to the file that
declares it. A test's include files are below /include-files, likewise.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ktstr.config.model import PayloadDecl, TestDecl
from ktstr.errors import Changed, HostError, InputError
from ktstr.files import file_sha256
from ktstr.host.libraries import needed_files
from ktstr.schedulers.binary import check_binary
from ktstr.schedulers.surroundings import contents, declared_files, is_program
from ktstr.vm.cpio import MAX_DATA, Entry, archive, directory, regular

HOME, INCLUDED = "/payload", "/include-files"
_WHAT = "payload program"
_LIBC, _UNWINDER = "libc.so.6", "libgcc_s.so.1"


def home(payload: PayloadDecl) -> str:
    """The payload's folder in the guest."""
    return f"{HOME}/{payload.name}"


def program_place(payload: PayloadDecl) -> str:
    """Where its program is in the guest: what its arguments begin with."""
    return f"{home(payload)}/bin/{payload.path.name}"


def start_folder(payload: PayloadDecl) -> str:
    """Where it starts, with its files."""
    return f"{home(payload)}/files"


def variables(payload: PayloadDecl) -> tuple[str, ...]:
    """What its environment has beside the agent's own, as NAME=VALUE; what is declared wins."""
    made = {"PATH": f"{home(payload)}/bin:/bin:/usr/bin", "LD_LIBRARY_PATH": f"{home(payload)}/lib"}
    return tuple(f"{name}={value}" for name, value in (made | dict(payload.env)).items())


@dataclass(frozen=True)
class Part:
    """Files that go into a guest together, as they are now.

    ``places``: where each is here, by its absolute path in the guest. ``folders``: those that are there though they
    may be empty. ``size``: bytes of them all. ``digest``: of places and content. ``where``: of the declaration.
    """

    places: Mapping[str, Path]
    folders: tuple[str, ...]
    size: int
    digest: str
    where: str


def installed(payload: PayloadDecl, search: str | None) -> Path:
    """Its program here. ``search``: PATH, for one that is declared by its bare name.

    Raises HostError, with the command that installs it, when it is not there.
    """
    if payload.path.is_absolute():
        return payload.path
    found = shutil.which(str(payload.path), path=search)
    if found is None:
        raise HostError(
            f"{payload.where} payloads.{payload.name}.program: found no {payload.path} in PATH, expected it installed",
            fix=payload.install or None,
        )
    return Path(found).absolute()


def payload_part(payload: PayloadDecl, libraries: tuple[Path, ...] = (), search: str | None = None) -> Part:
    """What a payload needs in the guest. ``libraries``: folders in which they are sought after its RUNPATH; ``search``:
    PATH.

    Raises InputError, with the place of the declaration, when the program is not there, cannot be run by an x86-64
    guest or lacks a library, and for its files as ``declared_files`` and ``contents``; HostError as ``installed``.
    """
    where = f"{payload.where} payloads.{payload.name}"
    program = installed(payload, search)
    check_binary(program, f"{where}.path", _WHAT)
    needed = needed_files(program, libraries, f"{where}.path: {_WHAT}")
    top, folder = home(payload), start_folder(payload)
    files = declared_files(payload.base, payload.files, f"{where}.files")
    places = {f"{folder}/{name}": path for name, path in files.items()}
    libraries_here = _with_unwinder(needed.libraries)
    places |= {f"{top}/lib/{name}": path for name, path in libraries_here.items()} | dict(needed.loaders)
    places[program_place(payload)] = program
    return _part(places, (f"{top}/lib", folder), where)


def _with_unwinder(libraries: Mapping[str, Path]) -> dict[str, Path]:
    """With what glibc opens, linked by nobody, when a thread ends or is cancelled (pthread_exit(3)): the program is
    aborted without it."""
    libc = libraries.get(_LIBC)
    beside = None if libc is None else libc.parent / _UNWINDER
    return {**({_UNWINDER: beside} if beside is not None and beside.is_file() else {}), **libraries}


def _part(places: Mapping[str, Path], folders: tuple[str, ...], where: str) -> Part:
    found = contents(places, where)
    digest = hashlib.sha256(repr((folders, found.listed)).encode()).hexdigest()
    return Part(places, folders, found.size, digest, where)


def include_part(test: TestDecl) -> Part:
    """A test's include files. Raises InputError as ``declared_files`` and ``contents``."""
    where = f"{test.where} tests.{test.name}.include_files"
    files = declared_files(test.base, test.include_files, where)
    return _part({f"{INCLUDED}/{name}": path for name, path in files.items()}, (INCLUDED,), where)


def check_places(parts: Iterable[Part]) -> None:
    """Raise InputError, with both declarations, for a path of the guest that two different files are to have."""
    taken: dict[str, tuple[Part, Path]] = {}
    for part in parts:
        for place, path in part.places.items():
            other, before = taken.setdefault(place, (part, path))
            if path.resolve() != before.resolve() and file_sha256(path) != file_sha256(before):
                raise InputError(
                    f"{part.where}: {path} is to be {place} in the guest, which is {before} of {other.where}",
                    fix="rename one of them",
                )


def packed(part: Part) -> bytes:
    """The part of the initramfs. Raises InputError for a file that cannot be read or is too large."""
    entries = [directory(folder.lstrip("/")) for folder in part.folders]
    try:
        return archive([*entries, *(_entry(place, path, part.where) for place, path in part.places.items())])
    except ValueError as err:
        raise InputError(f"{part.where}: {err}") from None


def _entry(place: str, path: Path, where: str) -> Entry:
    try:
        if path.stat().st_size > MAX_DATA:
            raise InputError(f"{where}: {path}: is too large for an initramfs, expected less than 4 GiB")
        return regular(place.lstrip("/"), path.read_bytes(), 0o755 if is_program(path) else 0o644)
    except OSError as err:
        raise InputError(f"{where}: {path}: {err.strerror}") from None


def verify(now: Part, planned: Part) -> None:
    """Raise Changed unless a part is still what was planned."""
    if now.digest != planned.digest:
        raise Changed(f"{planned.where}: one of its files")
