"""What came of the cells of a plan once everything ran: of those that did not get to run too; published, and
remembered for the next run. Imported by commands that run cells."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ktstr.cancel import Cancelled
from ktstr.commands.declare.command import Invocation, Planned
from ktstr.errors import HostError, KtstrError
from ktstr.files import write_atomic
from ktstr.options import GraphOptions, decisive
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome, did_pass, failure

if TYPE_CHECKING:
    from ktstr.config.model import CellKey
    from ktstr.planning.plan import Plan
    from ktstr.planning.points import CellPlan


def called_as() -> str:
    """What the user typed to get here."""
    return os.environ.get("KTSTR_CALLED_AS") or "doit"


def reproduce(cell: CellPlan, options: GraphOptions) -> str:
    """One copyable command that runs this cell and no other."""
    return command_of(cell.key, cell.point.accel, decisive(options))


def command_of(key: CellKey, accel: str, asked: Mapping[str, str]) -> str:
    """The command that runs one cell. ``asked``: as ``options.decisive`` gives it."""
    from shlex import quote  # not paid for by ``doit list``

    from ktstr.config.keep import keep_words

    pins = {
        "test": key.test,
        "preset": key.preset,
        "kernel": key.kernel,
        "scheduler": key.scheduler,
        "work_type": asked.get("work_type", ""),
        "accel": accel,
        "seed": str(key.seed),
        "keep": "" if key.keep is None else keep_words(key.keep),
        **{name: asked.get(name, "") for name in ("kconfig", "CC", "LLVM", "release")},
        "rerun": "1",
    }
    words = (quote(f"{name}={value}") for name, value in pins.items() if value)
    return f"{called_as()} test {' '.join(words)}"


def write_junit(invocation: Invocation, target: str, text: str) -> None:
    """A JUnit file, by its path from where the user stands. One that cannot be written costs an exit code of 3."""
    try:
        write_atomic(invocation.project.stand / target, text.encode())
    except HostError as err:
        invocation.ledger.fail(f"junit={target}", err)


def settle(
    invocation: Invocation, planned: Planned, maxfail: int | None = None, *, explain: bool = True
) -> list[CellOutcome]:
    """What came of every cell of a plan, in its order: published, remembered, and told to the ledger. ``explain``: on
    standard error too, what happened to schedulers that were lost."""
    outcomes = _published(invocation, planned, _outcomes(invocation, planned, maxfail))
    _remember(invocation, planned.plan, outcomes)
    for outcome in outcomes:
        invocation.ledger.record(outcome)
    if explain:
        explain_losses(outcomes)
    return list(outcomes)


def _outcomes(invocation: Invocation, planned: Planned, maxfail: int | None) -> list[CellOutcome]:
    plan, known = planned.plan, invocation.ledger.outcomes
    ran = [known.get(cell.name) or _missing(invocation, planned, cell, maxfail) for cell in plan.cells]
    broken = [failure(cell.name, cell.error) for cell in plan.broken]
    return [*ran, *broken, *_skipped(plan)]


def _missing(invocation: Invocation, planned: Planned, cell: CellPlan, maxfail: int | None) -> CellOutcome:
    """The outcome of a cell that never got to run."""
    parked = planned.plan.parked(cell)
    machine = () if parked is None else (parked.task,)
    cause = invocation.ledger.cause((*planned.plan.closure(cell.point.needs), *machine, f"cell:{cell.name}"))
    if cause is not None:
        return CellOutcome(cell.name, Outcome.ERROR, (cause.message,), error=cause)
    if invocation.cancel.signal or maxfail is not None:
        why = "interrupted" if invocation.cancel.signal else "stopped by maxfail="
        return CellOutcome(cell.name, Outcome.NOT_RUN, (why,))
    return CellOutcome(cell.name, Outcome.ERROR, ("was never reached",))


def _skipped(plan: Plan) -> Iterable[CellOutcome]:
    if not plan.skips:
        return ()
    from ktstr.cells.judge import skipped  # sidecars are made: not for a run with nothing to do

    return (skipped(plan, skip) for skip in plan.skips)


def _published(invocation: Invocation, planned: Planned, outcomes: Sequence[CellOutcome]) -> Sequence[CellOutcome]:
    """The outcomes of a plan with their paths in the view."""
    from ktstr.cells.publish import publish

    fill = partial(publish, planned.plan, planned.remembered, invocation.epoch)
    return published(invocation, "test", fill, outcomes)


def published(
    invocation: Invocation,
    task: str,
    fill: Callable[[Sequence[CellOutcome]], Sequence[CellOutcome]],
    outcomes: Sequence[CellOutcome],
) -> Sequence[CellOutcome]:
    """The outcomes with their paths in the view, which ``fill`` fills. One that cannot be costs the view, and ``task``
    an exit code, but not the report."""
    try:
        return fill(outcomes)
    except Cancelled:
        return outcomes
    except KtstrError as err:
        invocation.ledger.fail(task, err)
        return outcomes


def _remember(invocation: Invocation, plan: Plan, outcomes: Sequence[CellOutcome]) -> None:
    from ktstr.results.last import remember

    passed = did_pass(outcomes)
    if not any(outcome.failed for outcome in outcomes):
        remember(invocation.project.state, passed, ())
        return
    from ktstr.cells.failed import failures  # reads sidecars: not for a run in which all is well

    remember(invocation.project.state, passed, failures(plan, outcomes))


def explain_losses(outcomes: Sequence[CellOutcome]) -> None:
    """On standard error: what happened to schedulers that were lost."""
    if not any(outcome.failed for outcome in outcomes):
        return
    from ktstr.cells.dumps import told  # records and their types: not for a run in which all is well

    if text := told(outcomes):
        sys.stderr.write(text)
