"""What is kept of cells that did not pass: what runs each again, and what to hold that run against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from ktstr.cells.goals import sidecar_of
from ktstr.cells.run import host_context
from ktstr.config.model import CellKey
from ktstr.config.undeclared import TREE, undeclared_words
from ktstr.options import decisive
from ktstr.planning.inputs import inputs_of
from ktstr.planning.kernel import Kernel
from ktstr.planning.plan import Plan
from ktstr.planning.points import Broken, CellPlan
from ktstr.record.failed import FailedCell, FailedReason, FailedVerdict
from ktstr.record.sidecar import Accel, Sidecar
from ktstr.results.last import Failure
from ktstr.results.ledger import CellOutcome


def failures(plan: Plan, outcomes: Sequence[CellOutcome]) -> Iterator[Failure]:
    """Those of a plan's cells that did not pass."""
    planned: dict[str, CellPlan | Broken] = {cell.name: cell for cell in plan.cells}
    planned.update({cell.name: cell for cell in plan.broken})
    for outcome in outcomes:
        cell = planned.get(outcome.name)
        if outcome.failed and cell is not None:
            digest = cell.input_digest if isinstance(cell, CellPlan) else None
            yield Failure(outcome.name, outcome.verdict, digest, outcome.ran, partial(failed_cell, plan, cell, outcome))


def failed_cell(plan: Plan, cell: CellPlan | Broken, outcome: CellOutcome) -> FailedCell:
    """What is kept of a cell of the plan that did not pass."""
    whole, key = sidecar_of(outcome), cell.key
    planned = cell if isinstance(cell, CellPlan) else None
    kernel = cell.point.kernel if isinstance(cell, CellPlan) else cell.kernel
    return FailedCell(
        test=key.test,
        preset=key.preset,
        kernel=_kernel_word(plan, key, kernel),
        label=kernel.label,
        scheduler=key.scheduler,
        accel=cast(Accel, cell.point.accel if isinstance(cell, CellPlan) else cell.accel),
        seed=key.seed,
        verdict=cast(FailedVerdict, str(outcome.verdict)),
        reasons=reasons_of(outcome, whole),
        asked=asked(plan),
        input_digest=None if planned is None else planned.input_digest,
        inputs=None if planned is None or plan.machine is None else inputs_of(planned, plan.machine),
        kernel_version=kernel.version() if whole is None else whole.kernel_version,
        emulator=None if whole is None else whole.emulator,
        project_commit=plan.commit,
        measured_at=datetime.now(UTC).isoformat(timespec="milliseconds") if whole is None else whole.timestamp,
        host=host_context() if whole is None else whole.host,
    )


def reasons_of(outcome: CellOutcome, whole: Sidecar | None) -> tuple[FailedReason, ...]:
    """Why it did not pass: by the sidecar, which says by which check, else in the words of the error."""
    if whole is None:
        return tuple(FailedReason(None, text) for text in outcome.reasons)
    return tuple(FailedReason(reason.kind, reason.message) for reason in whole.reasons)


def asked(plan: Plan) -> dict[str, str]:
    """The variables of the command line that decide what its cells are, beside their names."""
    options = plan.request.options
    return with_programs(decisive(options), undeclared_words(options.select.scheduler), plan.request.project.stand)


def with_programs(asked: Mapping[str, str], words: Iterable[str], stand: Path) -> dict[str, str]:
    """The same with the schedulers that no declaration has, by paths that hold wherever the user stands."""
    programs = ",".join(word if word.startswith(TREE) else str(stand / word) for word in words)
    return {**asked, "scheduler": programs} if programs else dict(asked)


def _kernel_word(plan: Plan, key: CellKey, kernel: Kernel) -> str:
    """What ``kernel=`` takes, wherever the user stands."""
    return key.kernel if key.kernel in plan.config.kernels else str(kernel.spec)
