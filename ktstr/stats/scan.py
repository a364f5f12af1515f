"""The files of a pool: every sidecar of every run directory, with what tells whether it has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ktstr.files import reason
from ktstr.results.names import is_sidecar_name


@dataclass(frozen=True)
class Unreadable:
    """A file or folder that gave nothing: ``io`` when the system refused it, ``invalid`` when it is no sidecar."""

    path: str
    kind: Literal["io", "invalid"]
    message: str


@dataclass(frozen=True)
class FoundFile:
    """A file named as a sidecar. ``run`` is its run directory's name; ``size`` in bytes."""

    path: str
    run: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Scan:
    """Sidecars by path, and what could not be looked at."""

    files: tuple[FoundFile, ...]
    unreadable: tuple[Unreadable, ...]


def scan_root(root: Path) -> Scan:
    """All run directories in ``root``, each with one level of folders in it. A missing root has none.

    Names that begin with a dot are not looked at. Links are followed, which cannot lead in circles: the depth is fixed.
    """
    return _scan(_runs(str(root)))


def scan_run(folder: Path) -> Scan:
    """One run directory, with one level of folders in it."""
    return _scan(iter(((str(folder), folder.name),)))


_Run = tuple[str, str]  # path and name


def _runs(root: str) -> Iterator[_Run | Unreadable]:
    for entry in _entries(root):
        if isinstance(entry, Unreadable):
            if os.path.lexists(root):
                yield entry
        elif not entry.name.startswith(".") and _is_dir(entry):
            yield entry.path, entry.name


def _scan(runs: Iterator[_Run | Unreadable]) -> Scan:
    files: list[FoundFile] = []
    unreadable: list[Unreadable] = []
    for run in runs:
        for found in (run,) if isinstance(run, Unreadable) else _in_run(*run):
            if isinstance(found, Unreadable):
                unreadable.append(found)
            else:
                files.append(found)
    return Scan(tuple(sorted(files, key=lambda file: file.path)), tuple(sorted(unreadable, key=lambda u: u.path)))


def _in_run(folder: str, run: str, *, below: bool = True) -> Iterator[FoundFile | Unreadable]:
    for entry in _entries(folder):
        if isinstance(entry, Unreadable):
            yield entry
        elif below and not entry.name.startswith(".") and _is_dir(entry):
            yield from _in_run(entry.path, run, below=False)
        elif is_sidecar_name(entry.name):
            yield from _sidecar(entry, run)


def _sidecar(entry: os.DirEntry[str], run: str) -> Iterator[FoundFile | Unreadable]:
    try:
        if entry.is_file():
            stat = entry.stat()
            yield FoundFile(entry.path, run, stat.st_size, stat.st_mtime_ns)
        elif entry.is_symlink():
            yield Unreadable(entry.path, "io", "a link that leads to no file")
    except OSError as err:
        yield Unreadable(entry.path, "io", f"cannot be read: {reason(err)}")


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other
        return False


def _entries(folder: str) -> Iterator[os.DirEntry[str] | Unreadable]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as err:
        yield Unreadable(folder, "io", f"cannot be listed: {reason(err)}")
