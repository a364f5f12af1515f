"""What is kept of cells that did not pass: what runs each again, and what to hold that run against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import cast

from msgspec import structs

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
from ktstr.record.inputs import InputDigests
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


@dataclass(frozen=True)
class Kept:
    """What is kept of a cell beside what came of it. ``key`` has the kernel as ``kernel=`` takes it, wherever the user
    stands; ``kernel`` is its label, ``commit`` the project's."""

    key: CellKey
    kernel: str
    accel: Accel
    commit: str | None
    asked: dict[str, str]
    input_digest: str | None
    inputs: InputDigests | None


def failed_cell(plan: Plan, cell: CellPlan | Broken, outcome: CellOutcome) -> FailedCell:
    """What is kept of a cell of the plan that did not pass."""
    whole, planned = sidecar_of(outcome), cell if isinstance(cell, CellPlan) else None
    kept = Kept(
        key=replace(cell.key, kernel=_kernel_word(plan, cell.key, cell.kernel)),
        kernel=cell.kernel.label,
        accel=cast(Accel, cell.accel),
        commit=plan.commit,
        asked=asked(plan),
        input_digest=None if planned is None else planned.input_digest,
        inputs=None if planned is None or plan.machine is None else inputs_of(planned, plan.machine),
    )
    made = kept_cell(kept, outcome, whole)
    if whole is not None:
        return made
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return structs.replace(made, kernel_version=cell.kernel.version(), measured_at=now, host=host_context())


def kept_cell(kept: Kept, outcome: CellOutcome, whole: Sidecar | None) -> FailedCell:
    """The same of any cell. ``whole``: its sidecar, None where nothing was measured."""
    return FailedCell(
        test=kept.key.test,
        preset=kept.key.preset,
        kernel=kept.key.kernel,
        label=kept.kernel,
        scheduler=kept.key.scheduler,
        accel=kept.accel,
        seed=kept.key.seed,
        verdict=cast(FailedVerdict, str(outcome.verdict)),
        reasons=reasons_of(outcome, whole),
        asked=kept.asked,
        input_digest=kept.input_digest,
        inputs=kept.inputs,
        kernel_version=None if whole is None else whole.kernel_version,
        emulator=None if whole is None else whole.emulator,
        project_commit=kept.commit,
        measured_at=None if whole is None else whole.timestamp,
        host=None if whole is None else whole.host,
    )


def reasons_of(outcome: CellOutcome, whole: Sidecar | None) -> tuple[FailedReason, ...]:
    """Why it did not pass: by the sidecar, which says by which check, else in the words of the error."""
    if whole is None:
        return tuple(FailedReason(None, text) for text in outcome.reasons)
    return tuple(FailedReason(reason.kind, reason.message) for reason in whole.reasons)


def asked(plan: Plan) -> dict[str, str]:
    """The variables of the command line that decide what its cells are, beside their names; schedulers that no
    declaration has by paths that hold wherever the user stands."""
    options, stand = plan.request.options, plan.request.project.stand
    words = undeclared_words(options.select.scheduler)
    programs = ",".join(word if word.startswith(TREE) else str(stand / word) for word in words)
    return {**decisive(options), **({"scheduler": programs} if programs else {})}


def _kernel_word(plan: Plan, key: CellKey, kernel: Kernel) -> str:
    """What ``kernel=`` takes, wherever the user stands."""
    return key.kernel if key.kernel in plan.config.kernels else str(kernel.spec)
