"""What a shard leaves for ``doit merge``: what came of its cells, by paths that hold wherever the folder is taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from ktstr.columns import printable, printable_lines
from ktstr.config.model import CellKey
from ktstr.config.project import Project
from ktstr.errors import EXIT_INPUT, KtstrError
from ktstr.planning.plan import Plan
from ktstr.planning.points import Broken, CellPlan, SkipPlan
from ktstr.record.part import (
    MAX_LINE,
    MAX_TEXT,
    VERSION,
    Part,
    PartAccel,
    PartCell,
    PartError,
    PartFailure,
    PartKind,
    PartVerdict,
)
from ktstr.results.ledger import CellOutcome
from ktstr.results.sidecar import dump
from ktstr.schedulers.find import depends_on_kernel


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
        schedulers=_schedulers(plan.cells),
        cells=tuple(_cells(plan, known, plan.sliced.places)),
        failures=tuple(
            PartFailure(task=printable(task)[:MAX_LINE], error=_error(error)) for task, error in failures.items()
        ),
    )


def sidecars_of(project: Project, part: Part, outcomes: Sequence[CellOutcome]) -> dict[str, bytes]:
    """The sidecars of a part's cells, by their names beside it. Raises HostError when one is gone and its stored result
    too."""
    known = {outcome.name: outcome for outcome in outcomes}
    return {cell.sidecar_name: _sidecar(project, known[cell.name]) for cell in part.cells if cell.has_sidecar}


def _sidecar(project: Project, outcome: CellOutcome) -> bytes:
    """What was published, for a result that stands; else as it was made."""
    if outcome.standing is None:
        assert outcome.sidecar is not None, "what is judged or skipped has a sidecar"
        return dump(outcome.sidecar)
    try:
        return (project.stand / (outcome.path or outcome.standing.path)).read_bytes()
    except OSError:
        return dump(outcome.standing.build())


def _schedulers(cells: Iterable[CellPlan]) -> dict[str, str]:
    """The digests of the programs that cells run."""
    found = {}
    for cell in cells:
        digest, point = cell.point.image.scheduler, cell.point
        if digest is not None:
            kernel = f" for {point.kernel.label}" if depends_on_kernel(point.scheduler) else ""
            found[f"{cell.key.scheduler}{kernel}"] = digest
    return found


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
    key = cell.key
    return PartCell(
        place=place,
        kind=kind,
        test=key.test,
        preset=key.preset,
        kernel=cell.kernel.label,
        kernel_word=key.kernel,
        scheduler=key.scheduler,
        accel=cast(PartAccel, cell.accel),
        seed=key.seed,
        keep=key.keep,
        name=cell.name,
        verdict=cast(PartVerdict, str(outcome.verdict)),
        reasons=tuple(map(_safe, outcome.reasons)),
        seconds=outcome.seconds,
        ran=outcome.ran,
        input_digest=cell.input_digest if isinstance(cell, CellPlan) else None,
        files=tuple(_files(project, outcome)),
        error=None if outcome.error is None else _error(outcome.error),
    )


def key_of(cell: PartCell) -> CellKey:
    """What ``doit test`` selects the cell by."""
    return CellKey(cell.test, cell.preset, cell.kernel_word, cell.scheduler, cell.seed, cell.keep)


def _files(project: Project, outcome: CellOutcome) -> Iterator[str]:
    """Its files, from the folder of run directories. A cell of the same digest may have taken the place of one."""
    for file in outcome.files:
        path = project.stand / file
        relative = os.path.relpath(os.path.normpath(path), os.path.normpath(project.runs_root))
        if not relative.startswith("..") and path.is_file():
            yield relative


def _error(error: KtstrError) -> PartError:
    return PartError(
        message=_safe(error.message),
        fix=None if error.fix is None else _safe(error.fix),
        exit_code=2 if error.exit_code == EXIT_INPUT else 3,
    )


def _safe(text: str) -> str:
    """Lines that can be printed as they are, as many as a part has room for."""
    return printable_lines(text)[:MAX_TEXT]
