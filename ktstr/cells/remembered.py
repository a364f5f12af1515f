"""What earlier runs judged and published, so that a run with nothing to do reads no record.

One file holds a row for each cell. A row stands while all it was made from is the same: the inputs of
the run, those of judgement and sidecar (declarations, commit, this program's own sources), the record,
and the published sidecar. In any doubt the record is read and judged again, so the file may be
deleted, damaged or overtaken by another process: that costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ktstr.errors import HostError
from ktstr.files import write_atomic
from ktstr.results import view
from ktstr.results.sidecar import run_source
from ktstr.results.store import RECORD
from ktstr.tasks.session import Outcome, Session

if TYPE_CHECKING:
    from ktstr.planning.plan import CellPlan
    from ktstr.record.sidecar import Sidecar

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
    lines = []
    for folder in (package, *sorted(path for path in package.iterdir() if path.is_dir())):
        with os.scandir(folder) as entries:
            for entry in sorted((e for e in entries if e.name.endswith(".py")), key=lambda e: e.name):
                stat = entry.stat()
                lines.append(f"{folder.name}/{entry.name} {stat.st_size} {stat.st_mtime_ns}")
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
        write_atomic(path, _sum(body) + b"\n" + body, f"tmp.{os.getpid()}")


class Remembered:
    """The rows of one project, as they were when the session began.

    ``common``: what decides every judgement and sidecar of this session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._path = session.project.state / FILE
        self._off = bool(session.environ.get("KTSTR_SIDECAR_DIR"))
        self._rows = {} if self._off else read_rows(self._path)
        self._cells = str(session.project.cells)
        self._runs: dict[str | None, tuple[str, int | None]] = {}
        self.common = (sources_digest(), session.commit(), run_source(session.environ))

    def digest(self, name: str, basis: str) -> str | None:
        """The input digest of a cell that was planned on the same basis before."""
        row = self._rows.get(name)
        return row.digest if row is not None and row.basis == basis else None

    def find(self, cell: CellPlan, build: Callable[[], Sidecar]) -> Outcome | None:
        """The outcome of a cell whose row stands, else None; ``build`` makes its sidecar anew."""
        row = self._rows.get(cell.name)
        if row is None or row.digest != cell.input_digest or row.basis != cell.point.basis:
            return None
        folder, (root, stamp) = f"{self._cells}/{row.digest}", self._run(row.kernel)
        published = f"{root}/{row.place}"
        if not _untouched(row, f"{folder}/{RECORD}", published, stamp):
            return None
        subdir, name = row.own
        standing = view.Standing(published, (subdir, name), cell.key.preset, row.digest, row.kernel, build)
        files = tuple([f"{folder}/{name}" for name in row.files])
        return Outcome(
            cell.name, row.verdict, tuple(row.reasons), False, row.seconds, files=files, lasting=True, standing=standing
        )

    def keep(self, cells: Mapping[str, CellPlan], outcomes: Sequence[Outcome], paths: Mapping[str, Path]) -> None:
        """Add rows for what was judged now and lies at ``paths`` (by cell name); nothing is written without one."""
        fresh = [o for o in outcomes if o.lasting and o.sidecar is not None and o.name in paths]
        if not fresh or self._off:
            return
        made = {o.name: self._row(cells[o.name], o, paths[o.name]) for o in fresh}
        write_rows(self._path, {**read_rows(self._path), **{name: row for name, row in made.items() if row}})

    def _row(self, cell: CellPlan, outcome: Outcome, path: Path) -> Row | None:
        sidecar = outcome.sidecar
        assert sidecar is not None
        kernel = sidecar.kernel_version
        try:
            record = (self._session.project.cells / cell.input_digest / RECORD).stat()
            size = path.stat().st_size
        except OSError:
            return None
        files = [name.rpartition("/")[2] for name in outcome.files]
        place = str(path.relative_to(self._run(kernel)[0]))
        return Row(
            cell.input_digest, cell.point.basis, [record.st_size, record.st_mtime_ns], size, outcome.verdict,
            list(outcome.reasons), outcome.seconds or 0.0, files, kernel, place, list(view.place(sidecar)),
        )  # fmt: skip

    def _run(self, kernel: str | None) -> tuple[str, int | None]:
        """The run directory of a kernel, and when it was last published to before this session."""
        if kernel not in self._runs:
            root = self._session.project.runs_root / view.leaf_name(kernel, self._session.commit())
            self._runs[kernel] = (str(root), view.stamp_ns(root))
        return self._runs[kernel]


def _untouched(row: Row, record: str, published: str, stamp_ns: int | None) -> bool:
    try:
        measured, sidecar = os.stat(record), os.stat(published)  # noqa: PTH116 -- for thousands of cells
    except OSError:
        return False
    return (
        [measured.st_size, measured.st_mtime_ns] == row.record
        and sidecar.st_size == row.sidecar
        and sidecar.st_mtime_ns == stamp_ns
    )
