"""Failure dumps as files: written, read and checked, and copied beside the sidecars that people look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, full_or_denied, read_json, write_atomic
from ktstr.results.names import DUMP, DUMP_TEXT, SIDECAR

if TYPE_CHECKING:
    from ktstr.record.dump import FailureDump


def dump(found: FailureDump) -> bytes:
    """The bytes of the file: indented, keys in the order of the types."""
    from ktstr.record.codec import encode  # records are types of their own: not for a run with nothing to do

    text = json.dumps(encode(found), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def read_dump(path: Path) -> FailureDump:
    """A failure dump from disk, checked in full. Raises InputError with the path and the first wrong field."""
    from ktstr.record.codec import DecodeError, decode
    from ktstr.record.dump import FailureDump

    try:
        return decode(FailureDump, read_json(path, SIDECAR_CAP), "dump")
    except DecodeError as err:
        raise InputError(f"{path}: {err}", fix="dumps of other versions are disposable: measure again") from err


def publish_dumps(published: Mapping[Path, Iterable[str]], setting: str) -> None:
    """Copy each cell's dump and its text beside its sidecar, and remove those of a cell that has none now.

    ``published``: the cell's files, by where its sidecar is. Raises HostError; ``setting`` moves the folder elsewhere.
    """
    folders = {str(sidecar).rpartition("/")[0] for sidecar in published}
    there = {path for folder in folders for path in Path(folder).glob("*.failure-dump.*")}
    for sidecar, files in published.items():
        if not there and not any(file.endswith((DUMP, DUMP_TEXT)) for file in files):
            continue
        for end in (DUMP, DUMP_TEXT):
            target = sidecar.with_name(sidecar.name.removesuffix(SIDECAR) + end)
            source = next((Path(file) for file in files if file.endswith(end)), None)
            try:
                _place(target, source, target in there)
            except OSError as err:
                raise full_or_denied(err, target, setting) from err


def _place(target: Path, source: Path | None, is_there: bool) -> None:
    if source is None:
        if is_there:
            target.unlink(missing_ok=True)
        return
    data = source.read_bytes()
    if not is_there or target.read_bytes() != data:
        write_atomic(target, data)
