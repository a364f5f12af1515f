"""What of an entry is there already: verified byte by byte, once for as long as nobody touches it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.cluster.manifest import EntryFile
from ktstr.cluster.pieces import Place, read_file

# What makes a file another one although its bytes are the same: whether its owner may read and run it. The rest is
# a matter of each host's umask.
_MODE = 0o500


@dataclass(frozen=True)
class Standing:
    """Files that are not there as the manifest has them, whether any file is, and where the pieces are that are."""

    differing: tuple[str, ...] = ()
    any_file: bool = True
    places: Mapping[str, Place] = field(default_factory=dict)


def stamp_of(folder: Path, files: Sequence[EntryFile]) -> tuple[object, ...] | None:
    """What changes when the entry is replaced or one of these files touched; None when one is missing."""
    try:
        stats = [(folder / file.path).lstat() for file in files]
        at = folder.stat()
    except OSError:
        return None
    return (at.st_dev, at.st_ino, *((stat.st_ino, stat.st_ctime_ns, stat.st_size) for stat in stats))


def look_at(folder: Path, files: Sequence[EntryFile]) -> Standing:
    """Read what is there of these files. One that cannot be read counts as damaged."""
    differing: list[str] = []
    places: dict[str, Place] = {}
    for file in files:
        found = _read(folder, file.path)
        if found is None or not _is_as(found, file):
            differing.append(file.path)
        for piece in found.pieces() if found is not None else ():
            places.setdefault(piece.digest, Place(folder, piece.path, piece.offset))
    return Standing(tuple(differing), any(os.path.lexists(folder / file.path) for file in files), places)


def _read(folder: Path, path: str) -> EntryFile | None:
    try:
        return read_file(folder, path)
    except (OSError, ValueError):
        return None


def _is_as(found: EntryFile, wanted: EntryFile) -> bool:
    return found.digests == wanted.digests and found.size == wanted.size and (found.mode ^ wanted.mode) & _MODE == 0
