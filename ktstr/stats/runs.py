"""The list of run directories, newest first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ktstr.columns import printable, table
from ktstr.errors import HostError, InputError
from ktstr.files import SIDECAR_CAP, read_json
from ktstr.results.names import is_sidecar


@dataclass(frozen=True)
class RunRow:
    """One run directory. ``tests`` counts sidecars in it and one level below; ``unreadable`` those that are none.

    ``date`` is the earliest timestamp, ``arch`` the first host architecture; None when no sidecar says.
    """

    run: str
    tests: int
    date: str | None
    arch: str | None
    unreadable: int


def sidecars_of(folder: Path) -> Iterator[Path]:
    """The sidecars of a run directory and of exactly one level of subdirectories, by name."""
    entries = sorted(folder.iterdir())
    yield from (p for p in entries if is_sidecar(p) and p.is_file())
    for sub in entries:
        if sub.is_dir() and not sub.name.startswith("."):
            yield from (p for p in sorted(sub.iterdir()) if is_sidecar(p) and p.is_file())


def _mtime(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return float("-inf")


def run_folders(root: Path) -> list[Path]:
    """Run directories by modification time, newest first, then by name. A missing root has none."""
    try:
        found = [p for p in root.iterdir() if not p.name.startswith(".") and p.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as e:
        raise HostError(f"{root}: cannot be listed: {e.strerror}") from e
    return sorted(found, key=lambda p: (-_mtime(p), p.name))


def _row(folder: Path) -> RunRow:
    tests = unreadable = 0
    dates: list[str] = []
    archs: list[str] = []
    for path in sidecars_of(folder):
        try:
            sidecar = read_json(path, SIDECAR_CAP)
        except InputError:
            unreadable += 1
            continue
        tests += 1
        host, date = sidecar.get("host"), sidecar.get("timestamp")
        arch = host.get("arch") if isinstance(host, dict) else None
        dates += [date] if isinstance(date, str) and date else []
        archs += [arch] if isinstance(arch, str) and arch else []
    return RunRow(folder.name, tests, min(dates, default=None), archs[0] if archs else None, unreadable)


def list_runs(root: Path) -> list[RunRow]:
    """A row per run directory under ``root``. Raises HostError when it cannot be listed."""
    try:
        return [_row(folder) for folder in run_folders(root)]
    except OSError as e:
        raise HostError(f"{e.filename or root}: cannot be listed: {e.strerror}") from e


def to_text(rows: list[RunRow]) -> str:
    """The table RUN, TESTS, DATE, ARCH; a sentence when there is no run."""
    if not rows:
        return "no runs found: doit test makes the first one\n"
    cells = [(printable(r.run), str(r.tests), _date(r.date), printable(r.arch or "-")) for r in rows]
    lines = table(("RUN", "TESTS", "DATE", "ARCH"), cells, right=frozenset({1}))
    bad = [f"{r.run}: {r.unreadable} file(s) named as sidecars cannot be read" for r in rows if r.unreadable]
    return "\n".join([*lines, *([""] if bad else []), *map(printable, bad)]) + "\n"


def _date(timestamp: str | None) -> str:
    """To the second, which is what a person reads."""
    return re.sub(r"\.\d+", "", printable(timestamp or "-")).replace("+00:00", "Z")


def to_json(rows: list[RunRow]) -> str:
    """The rows as a JSON array (``schemas/stats_list.schema.json``)."""
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n"
