"""Writing files whole or not at all, and reading JSON that anyone may have touched."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktstr.errors import HostError, InputError

SIDECAR_CAP = 64 << 20  # bytes
RECORD_CAP = 512 << 20  # bytes: four million samples and their digits fit


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def full_or_denied(err: OSError, path: Path, setting: str = "KTSTR_CACHE_DIR") -> HostError:
    """What to tell the user when ``path`` cannot be written; ``setting`` moves what lies there elsewhere."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return HostError(f"{path}: the disk is full", fix=f"free some space, or set {setting} to a larger disk")
    reason = err.strerror or str(err)
    return HostError(f"{path}: cannot be written: {reason}", fix=f"make it writable, or set {setting}")


def write_atomic(path: Path, data: bytes, staging: str) -> None:
    """Write ``data`` as ``path`` by renaming ``{path}.{staging}``, which is removed on failure.

    Raises HostError naming the file when the disk is full or the folder unwritable.
    """
    temp = path.with_name(f"{path.name}.{staging}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _removed_on_failure(temp):
            temp.write_bytes(data)
            temp.replace(path)
    except OSError as e:
        raise HostError(f"{path}: cannot be written: {e.strerror}", fix="free space there, or make it writable") from e


@contextmanager
def _removed_on_failure(temp: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def staging_name(run_id: str) -> str:
    """What a file is called while it is written: ``tmp.{pid}.{run_id}``."""
    return f"tmp.{os.getpid()}.{run_id}"


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


def _read(path: Path, cap: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(cap + 1)
    except OSError as e:
        raise InputError(f"{path}: cannot be read: {e.strerror}") from e
    if len(data) > cap:
        raise InputError(f"{path}: found more than {cap} bytes, expected at most that")
    return data


def read_json(path: Path, cap: int) -> dict[str, Any]:
    """The JSON object in ``path``. Raises InputError for anything else, naming the file and the place.

    Refused: more than ``cap`` bytes, other encodings than UTF-8, nesting too deep for the parser, a key twice in
    one object, NaN and infinities.
    """
    data = _read(path, cap)
    try:
        found = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant
        )
    except json.JSONDecodeError as e:
        raise InputError(f"{path}:{e.lineno}:{e.colno}: is no JSON: {e.msg}") from e
    except RecursionError as e:
        raise InputError(f"{path}: is nested too deeply") from e
    except ValueError as e:
        raise InputError(f"{path}: is no JSON: {e}") from e
    if not isinstance(found, dict):
        raise InputError(f"{path}: found a {type(found).__name__}, expected an object")
    return found
