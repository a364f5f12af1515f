"""What a shard leaves for ``doit merge``: what came of its cells, by paths that hold wherever the folder is taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from ktstr.columns import printable
from ktstr.config.model import CellKey
from ktstr.config.project import Project
from ktstr.errors import EXIT_INPUT, KtstrError
from ktstr.planning.kernel import Kernel
from ktstr.planning.plan import Plan
from ktstr.planning.points import Broken, CellPlan, SkipPlan
from ktstr.record.outcome import JUDGED
from ktstr.record.part import VERSION, Part, PartAccel, PartCell, PartError, PartFailure, PartKind, PartVerdict
from ktstr.results.ledger import CellOutcome
from ktstr.results.store import SIDECAR, CellStore


def part_of(
    plan: Plan, outcomes: Sequence[CellOutcome], failures: Mapping[str, KtstrError], *, interrupted: bool
) -> Part:
    """The part of a plan with ``shard=i/n``. ``failures``: of its tasks that are no cells."""
    shard = plan.request.narrowing.shard
    assert plan.sliced is not None and shard is not None, "only a shard has a part"
    known = {outcome.name: outcome for outcome in outcomes}
    return Part(
        version=VERSION,
        index=shard.index,
        of=shard.of,
        whole=plan.sliced.whole,
        interrupted=interrupted,
        cells=tuple(_cells(plan, known, plan.sliced.places)),
        failures=tuple(PartFailure(task=_safe(task), error=_error(error)) for task, error in failures.items()),
    )


def _cells(plan: Plan, known: Mapping[str, CellOutcome], places: Mapping[str, int]) -> Iterator[PartCell]:
    kinds: tuple[tuple[PartKind, Iterable[CellPlan | Broken | SkipPlan]], ...]
    kinds = (("cell", plan.cells), ("broken", plan.broken), ("skip", plan.skips))
    for kind, cells in kinds:
        for cell in cells:
            if cell.name in known:
                yield _cell(plan.request.project, kind, cell, known[cell.name], places[cell.name])


def _cell(
    project: Project, kind: PartKind, cell: CellPlan | Broken | SkipPlan, outcome: CellOutcome, place: int
) -> PartCell:
    key, digest = cell.key, cell.input_digest if isinstance(cell, CellPlan) else None
    sidecar = _below(project, outcome.path)
    if sidecar is None and digest is not None and outcome.verdict in JUDGED:  # published out of reach
        sidecar = _below(project, str(CellStore(project.cells).folder(digest) / SIDECAR))
    return PartCell(
        place=place,
        kind=kind,
        test=key.test,
        preset=key.preset,
        kernel=_kernel(cell).label,
        kernel_word=key.kernel,
        scheduler=key.scheduler,
        accel=cast(PartAccel, _accel(cell)),
        seed=key.seed,
        keep=key.keep,
        name=cell.name,
        verdict=cast(PartVerdict, str(outcome.verdict)),
        reasons=tuple(map(_safe, outcome.reasons)),
        seconds=outcome.seconds,
        ran=outcome.ran,
        input_digest=digest,
        sidecar=sidecar,
        files=tuple(path for file in outcome.files if (path := _below(project, file)) is not None),
        error=None if outcome.error is None else _error(outcome.error),
    )


def _kernel(cell: CellPlan | Broken | SkipPlan) -> Kernel:
    return cell.point.kernel if isinstance(cell, CellPlan) else cell.kernel


def _accel(cell: CellPlan | Broken | SkipPlan) -> str:
    return cell.point.accel if isinstance(cell, CellPlan) else cell.accel


def key_of(cell: PartCell) -> CellKey:
    """What ``doit test`` selects the cell by."""
    return CellKey(cell.test, cell.preset, cell.kernel_word, cell.scheduler, cell.seed, cell.keep)


def _below(project: Project, path: str | None) -> str | None:
    """A path as it is shown, from the folder of run directories; None for one that is elsewhere."""
    if path is None:
        return None
    relative = os.path.relpath(os.path.normpath(project.stand / path), os.path.normpath(project.runs_root))
    return None if relative.startswith("..") else relative


def _error(error: KtstrError) -> PartError:
    return PartError(
        message=_safe(error.message),
        fix=None if error.fix is None else _safe(error.fix),
        exit_code=2 if error.exit_code == EXIT_INPUT else 3,
    )


def _safe(text: str) -> str:
    """Lines that can be printed as they are."""
    return "\n".join(printable(line) for line in text.expandtabs().split("\n"))
