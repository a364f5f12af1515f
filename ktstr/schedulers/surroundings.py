"""What a scheduler's program finds around it in the guest: its environment, and the files declared to go with it.

It starts in a folder that holds the files, each at its path relative to ktstr.yaml: what is declared as
``files: [conf/layers.json]`` is ``conf/layers.json`` to the program, as it would be here. All of it is in one folder of
the guest, with the program and its libraries; each scheduler of a guest has its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ktstr.config.model import SchedulerDecl
from ktstr.errors import Changed, InputError
from ktstr.files import file_sha256

MAX_FILES, MAX_BYTES = 4096, 256 << 20  # of one scheduler

# Of the scheduler that the guest is for; vmm_c/guest/proc/home.c knows it and those of the others.
HOME = "/sched"
# Folders of the image first; logs without colour. What Rust schedulers log by default hides libbpf's own words.
_ENVIRONMENT = {
    "PATH": "{home}/bin:/bin:/usr/bin",
    "LD_LIBRARY_PATH": "{home}/lib",
    "HOME": "/tmp",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "RUST_LOG": "info",
}
_LIBBPF_LOG, _LIBBPF_LEVEL = "scx_utils::libbpf_logger", "warn"


def other_home(name: str) -> str:
    """The folder of a scheduler that may take the place of the one that the guest is for."""
    return f"{HOME}/other/{name}"


def environment(declared: Mapping[str, str], home: str = HOME) -> dict[str, str]:
    """The environment of a program whose folder is ``home``: ours, what is ``declared``, and in RUST_LOG always a level
    for libbpf's messages."""
    made = {name: value.format(home=home) for name, value in _ENVIRONMENT.items()} | dict(declared)
    if _LIBBPF_LOG not in made["RUST_LOG"]:
        levels = [level for level in (made["RUST_LOG"], f"{_LIBBPF_LOG}={_LIBBPF_LEVEL}") if level]
        made["RUST_LOG"] = ",".join(levels)
    return made


@dataclass(frozen=True)
class Surroundings:
    """What goes with a program.

    ``files``: where each one is, by its path in the guest's folder. ``size``: their bytes. ``digest``: of all this.
    ``home``: the folder of all of it in the guest.
    """

    environment: Mapping[str, str]
    files: Mapping[str, Path]
    size: int
    digest: str
    home: str = HOME


ALONE = Surroundings(environment({}), {}, 0, "")


def surroundings(scheduler: SchedulerDecl, home: str = HOME) -> Surroundings:
    """What goes with ``scheduler``, as it is now, into the folder ``home`` of the guest.

    Raises InputError, with the place in ktstr.yaml, for a declared file that is not there, is none, lies outside of
    the folder of ktstr.yaml (a link may lead there), or cannot be read, and for more than MAX_FILES or MAX_BYTES.
    """
    place = f"{scheduler.where} schedulers.{scheduler.name}"
    where = f"{place}.files"
    variables = environment(dict(scheduler.env), home)
    files = dict(declared_files(scheduler.base, scheduler.files, where))
    if scheduler.config is not None:
        files.update(declared_files(scheduler.base, (scheduler.config,), f"{place}.config"))
    found = contents(files, where)
    digest = hashlib.sha256(repr((home, sorted(variables.items()), list(found.listed))).encode()).hexdigest()
    return Surroundings(variables, files, found.size, digest, home)


@dataclass(frozen=True)
class Contents:
    """What files hold: for each its name, whether it may be executed, and its SHA-256; ``size``: bytes of them all."""

    listed: tuple[tuple[str, bool, str], ...]
    size: int


def contents(files: Mapping[str, Path], where: str) -> Contents:
    """What ``files`` of the declaration at ``where`` hold now.

    Raises InputError for one that cannot be read, and for more than MAX_FILES or MAX_BYTES.
    """
    try:
        size = sum(path.stat().st_size for path in files.values())
        if len(files) > MAX_FILES or size > MAX_BYTES:
            raise InputError(
                f"{where}: found {len(files)} files of {size >> 20} MiB, expected at most {MAX_FILES} of"
                f" {MAX_BYTES >> 20} MiB"
            )
        listed = tuple((name, is_program(path), file_sha256(path)) for name, path in sorted(files.items()))
    except OSError as err:
        raise InputError(f"{where}: {err.filename}: {err.strerror}") from None
    return Contents(listed, size)


def verify(scheduler: SchedulerDecl, planned: Surroundings) -> None:
    """Raise Changed unless the files are still what was planned; InputError as ``surroundings``."""
    if surroundings(scheduler, planned.home).digest != planned.digest:
        raise Changed(f"{scheduler.where} schedulers.{scheduler.name}.files: one of them")


def is_program(path: Path) -> bool:
    """Whether a file may be executed, here and in the guest."""
    return path.stat().st_mode & 0o111 != 0


def declared_files(base: Path, names: Iterable[str], where: str) -> dict[str, Path]:
    """The files that ``names`` are, or all below the folders that they are, by their paths relative to ``base``.

    Raises InputError that begins with ``where``: no such file, none at all, or outside of ``base``.
    """
    return {place: path for name in names for place, path in _files(base, name, where)}


def _files(base: Path, name: str, where: str) -> Iterator[tuple[str, Path]]:
    """The file ``name``, or all below the folder of that name."""
    top = base / name
    if not top.exists():
        raise InputError(f"{where}: {top}: found no such file")
    inside = base.resolve()
    found = sorted(top.rglob("*")) if top.is_dir() else [top]
    for path in found:
        if not path.resolve().is_relative_to(inside):
            raise InputError(f"{where}: {path}: leads to {path.resolve()}, expected a file inside {inside}")
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_file():
            raise InputError(f"{where}: {path}: is no file, nor a folder of its own")
        yield str(path.relative_to(base)), path
