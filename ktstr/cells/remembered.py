"""Cells that need not be looked at: what an earlier run judged and published of them stands as it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan
from ktstr.results import view
from ktstr.results.judged import FILE, Row, read_rows, untouched, write_rows
from ktstr.results.ledger import CellOutcome
from ktstr.results.store import RECORD, folder_name

if TYPE_CHECKING:
    from ktstr.record.sidecar import Sidecar


class Remembered:
    """The rows of one project, as they were when the plan was made."""

    def __init__(self, plan: Plan) -> None:
        self._project, self._leaf, self._rows = plan.request.project, plan.leaf, plan.judged.rows
        self._off = bool(plan.request.environ.get("KTSTR_SIDECAR_DIR"))
        self._cells = str(self._project.cells)
        self._runs: dict[str | None, tuple[str, int | None]] = {}

    def find(self, cell: CellPlan, build: Callable[[], Sidecar]) -> CellOutcome | None:
        """The outcome of a cell whose row stands, else None; ``build`` makes its sidecar anew."""
        row = self._rows.get(cell.name)
        if row is None or row.digest != cell.input_digest or row.basis != cell.point.basis:
            return None
        folder, (root, stamp) = f"{self._cells}/{folder_name(row.digest)}", self._run(row.kernel)
        published = f"{root}/{row.place}"
        if not untouched(row, f"{folder}/{RECORD}", published, stamp):
            return None
        subdir, name = row.own
        standing = view.Standing(published, (subdir, name), cell.key.preset, row.digest, row.kernel, build)
        files = tuple([f"{folder}/{name}" for name in row.files])
        return CellOutcome(
            cell.name, row.verdict, tuple(row.reasons), False, row.seconds, files=files, lasting=True, standing=standing
        )

    def keep(self, cells: Mapping[str, CellPlan], outcomes: Iterable[CellOutcome], paths: Mapping[str, Path]) -> None:
        """Add rows for what was judged now and lies at ``paths`` (by cell name); nothing is written without one."""
        fresh = [o for o in outcomes if o.lasting and o.sidecar is not None and o.name in paths]
        if not fresh or self._off:
            return
        made = {o.name: self._row(cells[o.name], o, paths[o.name]) for o in fresh}
        rows = {name: row for name, row in made.items() if row is not None}
        path = self._project.state / FILE
        write_rows(path, {**read_rows(path), **rows})

    def _row(self, cell: CellPlan, outcome: CellOutcome, path: Path) -> Row | None:
        sidecar = outcome.sidecar
        assert sidecar is not None
        kernel = sidecar.kernel_version
        try:
            record = Path(f"{self._cells}/{folder_name(cell.input_digest)}/{RECORD}").stat()
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
        """The run directory of a kernel, and when it was last published to before this run."""
        if kernel not in self._runs:
            root = self._project.runs_root / self._leaf(kernel)
            self._runs[kernel] = (str(root), view.stamp_ns(root))
        return self._runs[kernel]
