"""The cells of run directories that did not pass, as ``doit replay`` takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from ktstr.errors import InputError
from ktstr.record.failed import FailedCell, FailedReason
from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import read_sidecar
from ktstr.stats.scan import Scan

OF_TWO_COMMITS = "perf-"  # what run directories of two commits that are compared begin with: not the project's own


@dataclass(frozen=True)
class FailedRuns:
    """``cells``: by name, of several sidecars of one cell by the newest. ``unreadable``: files that gave nothing."""

    cells: dict[str, FailedCell]
    unreadable: tuple[str, ...]


def failed_in(scan: Scan, *, named: bool) -> FailedRuns:
    """The cells of these sidecars whose newest neither passed nor was skipped. ``named``: the run was asked for by its
    name; else those of commits that were compared are left out."""
    newest: dict[str, tuple[Sidecar, FailedCell]] = {}
    unreadable = [bad.path for bad in scan.unreadable]
    for file in scan.files:
        if not named and file.run.startswith(OF_TWO_COMMITS):
            continue
        try:
            sidecar = read_sidecar(Path(file.path))
        except InputError:
            unreadable.append(file.path)
            continue
        cell = _cell(sidecar)
        if cell.name not in newest or newest[cell.name][0].timestamp <= sidecar.timestamp:
            newest[cell.name] = sidecar, cell
    cells = {name: cell for name, (sidecar, cell) in newest.items() if not (sidecar.passed or sidecar.skipped)}
    return FailedRuns(cells, tuple(unreadable))


def _cell(sidecar: Sidecar) -> FailedCell:
    label = sidecar.kernel_label or ""
    return FailedCell(
        test=sidecar.test_name,
        preset=sidecar.preset,
        kernel=label,
        label=label,
        scheduler=sidecar.scheduler,
        accel=sidecar.accel,
        seed=sidecar.seed,
        verdict="inconclusive" if sidecar.inconclusive else "fail",
        reasons=tuple(FailedReason(reason.kind, reason.message) for reason in sidecar.reasons),
        asked={"release": "1"} if sidecar.release is True else {},
        input_digest=sidecar.input_digest,
        inputs=None if sidecar.inputs is UNSET else sidecar.inputs,
        kernel_version=sidecar.kernel_version,
        emulator=sidecar.emulator,
        project_commit=sidecar.project_commit,
        measured_at=sidecar.timestamp,
        host=sidecar.host,
    )
