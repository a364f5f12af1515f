"""What earlier runs judged and published, a row for each cell, so that a run with nothing to do reads no record.

A row stands while all it was made from is the same: the inputs of the run, those of judgement and sidecar
(declarations, commit, this program's own sources), the record, and the published sidecar. In any doubt the
record is read and judged again, so the file may be deleted, damaged or overtaken by another process: that costs
time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ktstr.errors import HostError
from ktstr.files import write_atomic

PACKAGE = Path(__file__).parent.parent
FILE = "judged.json"


class Row(NamedTuple):
    """One cell. ``record``: size and time of change in ns of its record; ``sidecar``: size of what was published."""

    digest: str
    basis: str
    record: list[int]
    sidecar: int
    verdict: str
    reasons: list[str]
    seconds: float
    files: list[str]
    kernel: str | None
    place: str
    own: list[str]


def sources_digest(package: Path = PACKAGE) -> str:
    """SHA-256 over names, sizes and times of the package's modules: other code may judge otherwise."""
    lines: list[str] = []
    folders = [package]
    for folder in folders:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        folders += [Path(entry.path) for entry in found if entry.is_dir()]
        for entry in found:
            if entry.name.endswith(".py"):
                stat = entry.stat()
                lines.append(f"{folder.relative_to(package)}/{entry.name} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def read_rows(path: Path) -> dict[str, Row]:
    """The rows by cell name; none when the file is missing or not what ``write_rows`` wrote."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if head != _sum(body):
            return {}
        return {name: Row(*row) for name, row in json.loads(body).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_rows(path: Path, rows: Mapping[str, Row]) -> None:
    """Write the file in one step. A disk that cannot take it costs only time."""
    body = json.dumps(rows, separators=(",", ":")).encode()
    with suppress(HostError):
        write_atomic(path, _sum(body) + b"\n" + body)


def untouched(row: Row, record: str, published: str, stamp_ns: int | None) -> bool:
    """Whether the record and the published sidecar, at these paths, are as the row knows them.

    ``stamp_ns``: when the run directory was last published to; an untouched sidecar bears that time.
    """
    try:
        measured, sidecar = os.stat(record), os.stat(published)  # noqa: PTH116 -- for thousands of cells
    except OSError:
        return False
    return (
        [measured.st_size, measured.st_mtime_ns] == row.record
        and sidecar.st_size == row.sidecar
        and sidecar.st_mtime_ns == stamp_ns
    )
