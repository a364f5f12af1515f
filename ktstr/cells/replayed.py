"""What became of a cell that did not pass: its runs of now held against what was kept of then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ktstr.cells.failed import reasons_of
from ktstr.cells.goals import sidecar_of
from ktstr.planning.inputs import inputs_of
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan
from ktstr.record.failed import FailedCell, FailedReason
from ktstr.record.inputs import INPUTS
from ktstr.record.sidecar import Sidecar
from ktstr.results.ledger import CellOutcome
from ktstr.results.replayed import Change, Reason, Replayed, Run, judge
from ktstr.results.store import REAL_TIME
from ktstr.stats.hosts import diff, without_heap


def was(cell: FailedCell) -> Run:
    """What came of it then."""
    return Run(cell.verdict, _reasons(cell.reasons))


def became(cell: FailedCell, plan: Plan, planned: CellPlan | None, outcomes: Sequence[CellOutcome]) -> Replayed:
    """``planned``: None for a cell whose scheduler cannot be had. ``outcomes``: what came of each run of now, at least
    one."""
    sidecars = [sidecar_of(outcome) for outcome in outcomes]
    runs = tuple(_run(outcome, whole) for outcome, whole in zip(outcomes, sidecars, strict=True))
    judged = judge(was(cell), runs)
    whole = next((whole for whole in sidecars if whole is not None), None)
    return Replayed(
        cell.name,
        judged.fate,
        judged.why,
        was(cell),
        runs,
        changes=None if planned is None else changes_since(cell, plan, planned, whole),
        host=_host(cell, whole) if outcomes[0].ran else None,
        since=cell.measured_at,
        commit=cell.project_commit,
    )


def _run(outcome: CellOutcome, whole: Sidecar | None) -> Run:
    return Run(str(outcome.verdict), _reasons(reasons_of(outcome, whole)), outcome.ran, outcome.seconds)


def _reasons(reasons: Sequence[FailedReason]) -> tuple[Reason, ...]:
    return tuple(Reason(reason.check, reason.message) for reason in reasons)


def changes_since(
    cell: FailedCell, plan: Plan, planned: CellPlan, whole: Sidecar | None = None
) -> tuple[Change, ...] | None:
    """The inputs that are not what they were, None where those of then were not recorded, unless they are the same.
    ``whole``: the result of now, if there is one, which has words for some of them."""
    if cell.inputs is None or plan.machine is None:
        return () if cell.input_digest == planned.input_digest else None
    return tuple(_changed(cell, cell.inputs, inputs_of(planned, plan.machine), whole))


def _changed(cell: FailedCell, old: dict[str, str], new: dict[str, str], whole: Sidecar | None) -> Iterator[Change]:
    words = {
        "kernel": (cell.kernel_version, None if whole is None else whole.kernel_version),
        "emulator": (cell.emulator, None if whole is None else whole.emulator),
    }
    for name in INPUTS:
        if old.get(name) != new.get(name):
            was_called, is_called = words.get(name, (None, None))
            named = was_called != is_called
            yield Change(name, was_called if named else None, is_called if named else None)


def _host(cell: FailedCell, whole: Sidecar | None) -> tuple[str, ...] | None:
    """What differs between the host of then and that of now, where time is real."""
    if cell.accel not in REAL_TIME or cell.host is None or whole is None or whole.host is None:
        return None
    return tuple(line.strip() for line in diff(without_heap(cell.host), without_heap(whole.host)).splitlines())
