"""Parts of runs, ``{runs root}/.shards/{i}-of-{n}.json``: written by shards, found and read.

Beside each is a folder with the sidecars of its cells, ``{i}-of-{n}/``: those of run directories are the last run's.

Parts come from machines that share nothing with this one. Each is read with a cap on its size, and no path in it leads
out of the folder that it came in: neither by its name nor by a symbolic link.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.columns import printable, printable_lines
from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, full_or_denied, read_json, unreadable, write_atomic
from ktstr.options import Shard
from ktstr.record.codec import DecodeError, decode, encode
from ktstr.record.part import VERSION, Part, PartCell
from ktstr.results.names import SHARDS
from ktstr.results.view import SETTING

MAX_FOLDERS = 10_000  # that are looked into for parts
USUAL = Path("target/ktstr")  # of a project that was uploaded whole
_NAME = re.compile(r"([1-9][0-9]{0,5})-of-([1-9][0-9]{0,5})\.json")
ANEW = "run that shard again and upload its target/ktstr, hidden files included"


@dataclass(frozen=True)
class Found:
    """A part, where it is, and the folder of run directories that it is of. ``shown``: that one, as it was named."""

    root: Path
    path: Path
    shown: str
    part: Part


def part_path(root: Path, shard: Part | Shard) -> Path:
    """Where a shard's part is, below the folder of run directories."""
    return root / SHARDS / f"{shard.index}-of-{shard.of}.json"


def sidecar_path(shard: Part | Shard, cell: PartCell) -> str:
    """Where a cell's sidecar is, from the folder of run directories."""
    return f"{SHARDS}/{shard.index}-of-{shard.of}/{cell.sidecar_name}"


def remove_part(root: Path, shard: Shard) -> None:
    """Remove what an earlier run of a shard left for a merge. Raises HostError."""
    _remove(part_path(root, shard))


def _remove(path: Path) -> None:
    """Remove a part, then its sidecars: without them it would be none."""
    try:
        path.unlink(missing_ok=True)
        if path.with_suffix("").exists():
            shutil.rmtree(path.with_suffix(""))
    except OSError as err:
        raise full_or_denied(err, path, SETTING, verb="removed") from err


def write_part(root: Path, part: Part, sidecars: Mapping[str, bytes]) -> Path:
    """Write a part with its cells' sidecars, by their names, and remove parts of other runs that were left beside it.

    Raises HostError when the disk is full.
    """
    path = part_path(root, part)
    _remove(path)
    _write_sidecars(path.with_suffix(""), sidecars)
    data = json.dumps(encode(part), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(path, data.encode("utf-8", "replace") + b"\n", setting=SETTING)
    for other in _files(root):
        if other != path and not _is_beside(other, part):
            _remove(other)
    return path


def _write_sidecars(folder: Path, sidecars: Mapping[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in sidecars.items():
            (folder / name).write_bytes(data)
    except OSError as err:
        raise full_or_denied(err, folder, SETTING) from err


def _is_beside(path: Path, part: Part) -> bool:
    """Whether a file is another part of the same run."""
    try:
        other = _read(path)
    except InputError:
        return False
    return (other.of, other.whole) == (part.of, part.whole)


def parts_in(folder: Path, shown: str) -> list[Found]:
    """The parts that a folder holds: itself, at most two levels below, or in a ``target/ktstr`` of one of these.

    ``shown``: what the user calls it. Raises InputError when there is none, or one that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"dir={shown}: found no folder, expected what a shard left", fix="correct its name")
    found = [
        Found(root, path, _shown(root, folder, shown), _read(path)) for root in _roots(folder) for path in _files(root)
    ]
    if not found:
        raise InputError(
            f"dir={shown}: found no part of a run ({SHARDS}/1-of-N.json), expected what doit test shard=i/n left in"
            " target/ktstr",
            fix=ANEW,
        )
    return found


def _shown(root: Path, folder: Path, shown: str) -> str:
    return shown if root == folder else str(Path(shown) / root.relative_to(folder))


def _roots(folder: Path) -> Iterator[Path]:
    """The folders of run directories, nearest first; where one level has some, those below are not looked at."""
    level = [folder]
    looked_at = 0
    for _ in range(3):
        here = [root for place in level for root in (place, place / USUAL) if _is_folder(root / SHARDS, folder)]
        if here:
            yield from here
            return
        level = [path for place in level for path in _folders(place)]
        looked_at += len(level)
        if looked_at > MAX_FOLDERS:
            raise InputError(
                f"{folder}: found more than {MAX_FOLDERS} folders in it, expected what shards left",
                fix="name the folder of each shard in dir=",
            )


def _folders(place: Path) -> list[Path]:
    """Folders in a folder, by name; symbolic links are none."""
    try:
        with os.scandir(place) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _is_folder(path: Path, below: Path) -> bool:
    """Whether it is a folder that no symbolic link below ``below`` leads to."""
    steps = path.relative_to(below).parts
    for count in range(1, len(steps) + 1):
        try:
            if not stat.S_ISDIR(os.lstat(below.joinpath(*steps[:count])).st_mode):
                return False
        except OSError:
            return False
    return True


def _files(root: Path) -> list[Path]:
    """The files of parts below a folder of run directories, by shard. Raises InputError."""
    try:
        found = [(_NAME.fullmatch(path.name), path) for path in (root / SHARDS).iterdir()]
    except FileNotFoundError:
        return []
    except OSError as err:
        raise unreadable(err, root / SHARDS) from err
    shards = {path: (int(match[2]), int(match[1])) for match, path in found if match is not None}
    return sorted(shards, key=lambda path: shards[path])


def _read(path: Path) -> Part:
    """One part. Raises InputError naming the first wrong field."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise InputError(f"{path}: found no regular file, expected a part of a run", fix=ANEW)
    data = read_json(path, SIDECAR_CAP)
    version = data.get("version")
    if version != VERSION or type(version) is not int:
        raise InputError(
            f"{path}: found a part of version {printable(str(version)[:60])}, expected {VERSION}",
            fix="run the same ktstr in every job, and for doit merge",
        )
    try:
        part = decode(Part, data, "part")
    except DecodeError as err:
        raise InputError(f"{path}: {printable(str(err))}", fix=ANEW) from err
    if path.name != part_path(Path(), part).name:
        raise InputError(f"{path}: found shard {part.shard} in it, expected its name to say so", fix=ANEW)
    return part


@contextmanager
def told_printably() -> Iterator[None]:
    """What is refused meanwhile is told in text that a terminal shows as it is, whatever files are called."""
    try:
        yield
    except InputError as err:
        fix = None if err.fix is None else printable_lines(err.fix)
        raise InputError(printable_lines(err.message), fix=fix) from err


def inside(root: Path, relative: str, where: str) -> Path:
    """The regular file that a part names. ``where``: which cell of which part says so.

    Raises InputError for a path that leaves ``root``, by its name or by a link, and for what is no regular file.
    """
    steps = relative.split("/")
    if not relative or "\0" in relative or any(step in ("", ".", "..") for step in steps):
        raise InputError(f"{where}: found {relative[:200]!r}, expected a path inside of its folder", fix=ANEW)
    path = root
    for count, step in enumerate(steps, 1):
        path = path / step
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            raise InputError(f"{where}: found no {relative[:200]}", fix=ANEW) from None
        if stat.S_ISLNK(mode):
            raise InputError(f"{where}: {path} is a symbolic link, expected none", fix=ANEW)
        if not (stat.S_ISREG(mode) if count == len(steps) else stat.S_ISDIR(mode)):
            raise InputError(f"{where}: {path} is no regular file", fix=ANEW)
    return path
