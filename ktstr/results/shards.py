"""Parts of one run, ``{runs root}/.shards/{i}-of-{n}.json``: written by shards, found, read, held against each other.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.columns import printable, printable_lines
from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, full_or_denied, read_json, unreadable, write_atomic
from ktstr.options import Shard
from ktstr.record.codec import DecodeError, decode, encode
from ktstr.record.part import VERSION, Part, PartCell, PartKind, selection_digest
from ktstr.results.names import SHARDS
from ktstr.results.view import SETTING

KINDS: tuple[PartKind, ...] = ("cell", "broken", "skip")  # the order of a table
MAX_FOLDERS = 10_000  # that are looked into for parts
USUAL = Path("target/ktstr")  # of a project that was uploaded whole
_NAME = re.compile(r"([1-9][0-9]{0,5})-of-([1-9][0-9]{0,5})\.json")
_ANEW = "run that shard again and upload its target/ktstr, hidden files included"


@dataclass(frozen=True)
class Found:
    """A part, where it is, and the folder of run directories that it is of. ``shown``: that one, as it was named."""

    root: Path
    path: Path
    shown: str
    part: Part


@dataclass(frozen=True)
class _Agreement:
    """A field that all shards of a run have in common: what it is, and what makes it so."""

    field: str
    what: str
    fix: str


_AGREED = (
    _Agreement("ktstr", "ktstr", "run the same ktstr in every job"),
    _Agreement("commit", "the commit", "check out the same commit in every job"),
    _Agreement("declarations", "ktstr.yaml", "run the same ktstr.yaml in every job, with what it includes"),
    _Agreement("accel", "accel", "give accel= in every job"),
    _Agreement("kernels", "kernels", "commit ktstr.lock, which pins them"),
    _Agreement("machine", "the machine", "commit ktstr.lock, which pins QEMU; for kvm use one image with one compiler"),
    _Agreement("asked", "variables", "give the same variables in every job, but for shard="),
    _Agreement("narrowed", "what narrows it", "give the same variables in every job, but for shard="),
    _Agreement("cells", "how many cells", "give the same selection in every job; no_skip=1 where hosts differ in size"),
    _Agreement("skips", "how many skips", "give the same selection in every job; no_skip=1 where hosts differ in size"),
    _Agreement("selection", "the cells' names", "give the same selection in every job"),
)


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
            fix=_ANEW,
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
        raise InputError(f"{path}: found no regular file, expected a part of a run", fix=_ANEW)
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
        raise InputError(f"{path}: {printable(str(err))}", fix=_ANEW) from err
    if path.name != part_path(Path(), part).name:
        raise InputError(f"{path}: found shard {part.shard} in it, expected its name to say so", fix=_ANEW)
    return part


@contextmanager
def told_printably() -> Iterator[None]:
    """What is refused meanwhile is told in text that a terminal shows as it is, whatever files are called."""
    try:
        yield
    except InputError as err:
        fix = None if err.fix is None else printable_lines(err.fix)
        raise InputError(printable_lines(err.message), fix=fix) from err


def joined(found: Sequence[Found]) -> tuple[Found, ...]:
    """All parts of one run, by shard. Raises InputError for one that is missing, there twice, or of another run, and
    for a run of which nothing was selected."""
    first = found[0]
    for other in found[1:]:
        _refuse_other(first, other)
    by_index = _by_index(found)
    _refuse_missing(first.part.of, by_index, found)
    ordered = tuple(by_index[index] for index in sorted(by_index))
    for one in ordered:
        _refuse_misplaced(one)
    _refuse_other_names(ordered)
    _refuse_other_schedulers(ordered)
    if not any(one.part.cells for one in ordered):
        whole = first.part.whole
        raise InputError(
            f"nothing was selected: {whole.narrowed or 'the selection'} leaves none of {whole.cells} cells in"
            f" {_some([one.shown for one in ordered])}",
            fix="run the shards with another selection",
        )
    return ordered


def _by_index(found: Sequence[Found]) -> dict[int, Found]:
    by_index: dict[int, Found] = {}
    for one in found:
        twin = by_index.setdefault(one.part.index, one)
        if twin is not one:
            raise InputError(
                f"shard {one.part.shard}: found it in {twin.shown} and in {one.shown}, expected it once",
                fix="leave out one of the folders",
            )
    return by_index


def _refuse_missing(of: int, by_index: Mapping[int, Found], found: Sequence[Found]) -> None:
    missing = [f"{index}/{of}" for index in range(1, of + 1) if index not in by_index]
    if missing:
        many = len(missing) > 1
        raise InputError(
            f"{'shards' if many else 'shard'} {_some(missing)} {'are' if many else 'is'} missing: found"
            f" {len(by_index)} of {of} parts in {_some([one.shown for one in found])}",
            fix=f"name its folder in dir= too; or doit test shard={missing[0]}, and upload its target/ktstr",
        )


def _some(words: Iterable[str], most: int = 8) -> str:
    every = list(dict.fromkeys(words))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _refuse_other(first: Found, other: Found) -> None:
    """Raise InputError unless both are parts of one run."""
    if other.part.of != first.part.of:
        raise InputError(
            f"{other.shown}: found shard {other.part.shard}, expected one of {first.part.of} as in {first.shown}"
            f" ({first.part.shard})",
            fix=f"leave out the folder that is of another run, or remove its {SHARDS}",
        )
    for agreed in _AGREED:
        ours, theirs = getattr(first.part.whole, agreed.field), getattr(other.part.whole, agreed.field)
        if ours != theirs:
            raise InputError(
                f"{other.shown}: shard {other.part.shard} is of another run: {agreed.what}: found {_value(theirs)},"
                f" expected {_value(ours)} as in {first.shown} ({first.part.shard})",
                fix=agreed.fix,
            )


def _value(value: object) -> str:
    """A field of ``Whole`` in few words; digests by their beginning."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={str(item)[:16]}" for name, item in sorted(value.items())) or "none"
    return "none" if value in (None, "") else str(value)[:16]


def _refuse_misplaced(found: Found) -> None:
    """Raise InputError unless the part has exactly the cells and skips of its slice, each once and in its place."""
    part, whole = found.part, found.part.whole
    for kinds, total in ((("cell", "broken"), whole.cells), (("skip",), whole.skips)):
        places = [cell.place for cell in part.cells if cell.kind in kinds]
        wanted = range(part.index - 1, total, part.of)
        if len(set(places)) != len(places) or not all(place in wanted for place in places):
            raise InputError(
                f"{found.path}: found cells of other shards, expected one of every {part.of}, each once", fix=_ANEW
            )
        if len(places) != len(wanted) and not whole.narrowed:
            raise InputError(f"{found.path}: found {len(places)} {kinds[0]}s, expected {len(wanted)}", fix=_ANEW)


def entries_of(found: Sequence[Found]) -> list[tuple[Found, PartCell]]:
    """All that the parts of ``joined`` have, in the order of one run: cells, those that are broken, skips."""
    every = [(one, cell) for one in found for cell in one.part.cells]
    return sorted(every, key=lambda entry: (KINDS.index(entry[1].kind), entry[1].place))


def _refuse_other_names(found: Sequence[Found]) -> None:
    """Raise InputError unless the names are those that were selected."""
    whole, every = found[0].part.whole, [cell for _, cell in entries_of(found)]
    names = {cell.name for cell in every}
    by_place = sorted(every, key=lambda cell: cell.place)
    cells = (cell.name for cell in by_place if cell.kind != "skip")
    skips = (cell.name for cell in by_place if cell.kind == "skip")
    if len(names) != len(every) or not (whole.narrowed or selection_digest(cells, skips) == whole.selection):
        raise InputError(
            f"{_some([one.shown for one in found])}: found other cells than were selected, by their names", fix=_ANEW
        )


def _refuse_other_schedulers(found: Sequence[Found]) -> None:
    """Raise InputError unless a scheduler of one name is one program in all parts that ran it."""
    first: dict[str, Found] = {}
    for one in found:
        for name, digest in one.part.schedulers.items():
            known = first.setdefault(name, one)
            if known.part.schedulers[name] != digest:
                raise InputError(
                    f"{one.shown}: shard {one.part.shard} is of another run: scheduler {name}: found {digest[:16]},"
                    f" expected {known.part.schedulers[name][:16]} as in {known.shown} ({known.part.shard})",
                    fix="build it once, or in every job from the same files with the same tools",
                )


def inside(root: Path, relative: str, where: str) -> Path:
    """The regular file that a part names. ``where``: which cell of which part says so.

    Raises InputError for a path that leaves ``root``, by its name or by a link, and for what is no regular file.
    """
    steps = relative.split("/")
    if not relative or "\0" in relative or any(step in ("", ".", "..") for step in steps):
        raise InputError(f"{where}: found {relative[:200]!r}, expected a path inside of its folder", fix=_ANEW)
    path = root
    for count, step in enumerate(steps, 1):
        path = path / step
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            raise InputError(f"{where}: found no {relative[:200]}", fix=_ANEW) from None
        if stat.S_ISLNK(mode):
            raise InputError(f"{where}: {path} is a symbolic link, expected none", fix=_ANEW)
        if not (stat.S_ISREG(mode) if count == len(steps) else stat.S_ISDIR(mode)):
            raise InputError(f"{where}: {path} is no regular file", fix=_ANEW)
    return path
