"""Files on disk: written whole or not at all, measured, read as JSON that anyone may have touched, and what to tell
the user when the system refuses.

This is the only module that renames a file over another (``tests/test_files.py`` looks); whole folders change
places in the cache, among snapshots and in the cell store.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktstr.errors import HostError, InputError

SIDECAR_CAP = 64 << 20  # bytes
RECORD_CAP = 512 << 20  # bytes: four million samples and their digits fit
# Ours are a dozen deep. What the parser can just take, nobody further down the stack can print or copy.
MAX_DEPTH = 100

FULL = (errno.ENOSPC, errno.EDQUOT)
# What helps, by errno(3), where another place would help too; ``{able}`` is readable or writable.
_FIXES = {
    errno.EACCES: "make it {able} for this user",
    errno.EPERM: "make it {able} for this user",
    errno.EROFS: "mount its filesystem writable",
    errno.ENOENT: "make the folder that is missing",
    errno.ENOTDIR: "move away the file that is in the place of a folder",
    errno.EEXIST: "move away what is there",
    errno.ENOTEMPTY: "move away what is there",
    errno.EISDIR: "move away the folder that is there",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ELOOP: "mend its symbolic links, which lead to each other",
    errno.EFBIG: "raise the limit on a file's size (ulimit -f)",
    errno.EIO: "check that disk: dmesg shows its errors",
}
_OF_WRITING = frozenset(
    {errno.EROFS, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EFBIG, errno.ENAMETOOLONG}
)
# The same, where the place does not matter.
_FIXES_ANYWHERE = {
    errno.EMFILE: "raise the limit on open files (ulimit -n), or use fewer jobs",
    errno.ENFILE: "as root: raise the limit on all open files (sysctl fs.file-max)",
    errno.ENOMEM: "free some memory, or use fewer jobs",
}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_bytes(folder: Path) -> int:
    """Bytes allocated for ``folder`` and all in it; hard links count once, symbolic links are not followed.

    What vanishes meanwhile or may not be entered counts as nothing.
    """
    seen: dict[tuple[int, int], int] = {}
    # os.walk passes over folders that vanish or may not be entered; Path.rglob raises for the former.
    inside = (f"{at}/{name}" for at, folders, files in os.walk(folder) for name in (*folders, *files))
    for entry in itertools.chain((str(folder),), inside):
        try:
            stat = os.lstat(entry)
        except OSError:
            continue
        seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


def full_or_denied(
    err: OSError, path: Path, setting: str | None = "KTSTR_CACHE_DIR", *, verb: str = "written"
) -> HostError:
    """What to tell the user when ``path`` cannot be written, filled, made or removed (``verb``), and what helps.

    ``setting`` is the variable that moves what lies there elsewhere, None when there is none.
    """
    if err.errno in FULL:
        quota = ": this user's quota is used up" if err.errno == errno.EDQUOT else ""
        fix = _or_elsewhere("free some space", setting, " to a larger disk")
        return HostError(f"{path}: the disk is full{quota}", fix=fix)
    fix = _FIXES_ANYWHERE.get(err.errno or 0) or _or_elsewhere(_advice(err, "writable"), setting, "")
    return HostError(f"{path}: cannot be {verb}: {reason(err)}", fix=fix)


def refused(err: OSError, place: Path, setting: str | None) -> HostError:
    """What to tell the user of an error where nobody knows what was being done: that it was writing only if nothing
    else can fail so. ``place``: what was being filled, for an error that names no file; ``setting`` moves it.
    """
    if err.errno in FULL or err.errno in _OF_WRITING:
        return full_or_denied(err, Path(err.filename or place), setting)
    fix = _FIXES_ANYWHERE.get(err.errno or 0)
    if fix is None and err.errno in (errno.EACCES, errno.EPERM):
        fix = "let this user have it"
    return HostError(f"{err.filename or 'the system'}: {reason(err)}", fix=fix)


def unreadable(err: OSError, what: Path | str) -> InputError:
    """What to tell the user when ``what``, a file that he named or made, cannot be read, and what helps."""
    fix = _FIXES_ANYWHERE.get(err.errno or 0) or _advice(err, "readable")
    if err.errno == errno.ENOENT:
        fix = "correct its name"
    return InputError(f"{what}: cannot be read: {reason(err)}", fix=fix)


def reason(err: OSError) -> str:
    """The system's own words."""
    return err.strerror or str(err)


def _advice(err: OSError, able: str) -> str:
    return _FIXES.get(err.errno or 0, "make it {able}").format(able=able)


def _or_elsewhere(advice: str, setting: str | None, where: str) -> str:
    return advice if setting is None else f"{advice}, or set {setting}{where}"


def staging_name(run_id: str) -> str:
    """What a file of a run is called while it is written: ``tmp.{pid}.{run_id}``."""
    return f"tmp.{os.getpid()}.{run_id}"


def replace_file(source: Path, target: Path) -> None:
    """Put a finished file in place of ``target``, on the same filesystem, in one step. Raises OSError."""
    source.replace(target)


@contextmanager
def staged(path: Path, staging: str | None = None, *, fsync: bool = False) -> Iterator[Path]:
    """A place for somebody else, such as a compiler, to write what becomes ``path`` on a clean exit.

    The name is ``{path}.{staging}``, else one that no other process or container uses. The folder is made. On an
    exception nothing is left and ``path`` is as before. ``fsync``: a power cut after the exit does not undo it
    either. Raises OSError.
    """
    temp = path.with_name(f"{path.name}.{staging or staging_name(os.urandom(4).hex())}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temp
        if fsync:
            _flush(temp)
        replace_file(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def write_atomic(
    path: Path, data: bytes, staging: str | None = None, *, fsync: bool = False, setting: str | None = None
) -> None:
    """Write ``data`` as ``path``, as ``staged`` does.

    Raises HostError naming the file, as ``full_or_denied`` has it, when it cannot be written.
    """
    try:
        with staged(path, staging, fsync=fsync) as temp:
            temp.write_bytes(data)
    except OSError as err:
        raise full_or_denied(err, path, setting) from err


def write_new(path: Path, data: bytes) -> None:
    """Write ``data`` as ``path``, whole, and never over anything that is there or appears meanwhile.

    Raises FileExistsError with the path when something is there; other OSErrors when it cannot be written.
    """
    temp = path.with_name(f".{path.name}.{staging_name(os.urandom(4).hex())}")
    try:
        temp.write_bytes(data)
        os.link(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A key that is there twice has two meanings, of which a parser would keep the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"found the key {twice[:60]!r} twice in one object, expected it once")
    return found


def _is_within(value: object, depth: int) -> bool:
    """Whether no more than ``depth`` objects and arrays are inside each other."""
    level = [value]
    for _ in range(depth):
        level = [item for outer in level for item in _items(outer) if isinstance(item, (dict, list))]
        if not level:
            return True
    return False


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def parse_json(data: bytes, where: Path | str, cap: int) -> Any:
    """The JSON value that ``data`` is. Raises InputError for anything else, naming the place, ``where`` first.

    Refused: more than ``cap`` bytes, other encodings than UTF-8, more than ``MAX_DEPTH`` objects and arrays inside
    each other, a key twice in one object, NaN and infinities.
    """
    if len(data) > cap:
        raise InputError(f"{where}: found more than {cap} bytes, expected at most that")
    try:
        found = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant
        )
    except json.JSONDecodeError as e:
        raise InputError(f"{where}:{e.lineno}:{e.colno}: is no JSON: {e.msg}") from e
    except RecursionError as e:
        raise InputError(f"{where}: is nested too deeply") from e
    except ValueError as e:
        raise InputError(f"{where}: is no JSON: {e}") from e
    if not _is_within(found, MAX_DEPTH):
        raise InputError(f"{where}: is nested too deeply")
    return found


def read_json_value(path: Path, cap: int) -> Any:
    """The JSON value in ``path``. Raises InputError as ``parse_json``, and for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(cap + 1)  # one too many is found by the parser
    except OSError as e:
        raise unreadable(e, path) from e
    return parse_json(data, path, cap)


def read_json(path: Path, cap: int) -> dict[str, Any]:
    """The JSON object in ``path``. Raises InputError as ``read_json_value``, and for any other value."""
    found = read_json_value(path, cap)
    if not isinstance(found, dict):
        raise InputError(f"{path}: found a {type(found).__name__}, expected an object")
    return found
