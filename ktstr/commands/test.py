"""``doit test``: run the declared cells and judge the scheduler."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.ended import reproduce, settle
from ktstr.commands.declare.plans import cell_tasks, plan_cells
from ktstr.commands.declare.reported import Saying, report_of
from ktstr.errors import KtstrError
from ktstr.options import TestOptions
from ktstr.results.ledger import CellOutcome, ExitRules

if TYPE_CHECKING:
    from ktstr.planning.points import CellPlan
    from ktstr.record.part import Part
    from ktstr.results import summary


def _summaries(options: TestOptions, planned: Planned, outcomes: Sequence[CellOutcome]) -> list[summary.CellSummary]:
    from ktstr.results import summary

    plans = {cell.name: cell for cell in planned.plan.cells}
    every = options.testing.json or options.testing.verbose
    told = (plans.get(outcome.name) if every or outcome.failed else None for outcome in outcomes)
    commands = ("" if cell is None else reproduce(cell, options.graph) for cell in told)
    return [summary.summary_of(outcome, command) for outcome, command in zip(outcomes, commands, strict=True)]


def finish_cells(invocation: Invocation, options: TestOptions, planned: Planned) -> Report:
    """Publish the view, remember the verdicts and give the report's text. A shard leaves its part besides."""
    from ktstr.cells.declared import declared_runs, why_partial

    failures = dict(invocation.ledger.failures)
    outcomes = settle(invocation, planned, options.testing.maxfail)
    interrupted = bool(invocation.cancel.signal)
    if planned.plan.sliced is not None:
        from ktstr.cells.parts import part_of  # records are types of their own: for shards only

        part = part_of(planned.plan, outcomes, failures, interrupted=interrupted)
        _leave_part(invocation, part, outcomes)
    saying = Saying(
        json=options.testing.json,
        verbose=options.testing.verbose,
        junit=options.testing.junit,
        rules=_rules(options),
        partial=why_partial(planned.plan.request.narrowing),
        interrupted=interrupted,
    )
    declared = declared_runs(planned.plan, outcomes)
    return report_of(invocation, saying, _summaries(options, planned, outcomes), declared)


def _plan(invocation: Invocation, options: TestOptions) -> Planned:
    """The cells. What a shard left before goes first: whatever stops this run, nobody may take that for its result."""
    if options.testing.shard is not None and not options.testing.dry_run:
        from ktstr.results.shards import remove_part

        remove_part(invocation.project.runs_root, options.testing.shard)
    return plan_cells(invocation, options)


def _leave_part(invocation: Invocation, part: Part, outcomes: Sequence[CellOutcome]) -> None:
    """What ``doit merge`` reads. One that cannot be written costs an exit code of 3."""
    from ktstr.cells.parts import sidecars_of
    from ktstr.results.shards import write_part

    try:
        write_part(invocation.project.runs_root, part, sidecars_of(invocation.project, part, outcomes))
    except KtstrError as err:
        invocation.ledger.fail(f"shard={part.shard}", err)


def preview(invocation: Invocation, options: TestOptions, planned: Planned) -> str | None:
    """Each cell, why it would run or that it is up to date, and the machine that it shares; one JSON object with
    ``json=1``."""
    if not options.testing.dry_run:
        return None
    plan = planned.plan
    rows = [_row(planned, cell) for cell in plan.cells]
    rows += [_Row(cell.name, f"error: {cell.error}") for cell in plan.broken]
    rows += [_Row(skip.name, f"skip: {skip.reason}") for skip in plan.skips]
    if options.testing.json:
        return json.dumps({"cells": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False) + "\n"
    return "".join(f"{row.name}  {row.why}{f'  [{row.machine}]' if row.machine else ''}\n" for row in rows)


@dataclass(frozen=True)
class _Row:
    """A cell of a preview; ``machine``: the task of the one that it would be a clone of."""

    name: str
    why: str
    machine: str | None = None


def _row(planned: Planned, cell: CellPlan) -> _Row:
    why = planned.cells.why(cell)
    parked = planned.plan.parked(cell) if why.startswith("run") else None
    return _Row(cell.name, why, None if parked is None else parked.task)


def _rules(options: TestOptions) -> ExitRules:
    testing, no_skip = options.testing, options.graph.running.no_skip
    return ExitRules(allow_inconclusive=testing.allow_inconclusive, no_skip=no_skip, bisect=testing.bisect)


COMMAND = Command(
    "test",
    "Run",
    "run the declared cells and judge the scheduler",
    TestOptions,
    plan=_plan,
    preview=preview,
    finish=finish_cells,
    rules=_rules,
    needs=cell_tasks,
    judges=True,
    first=True,
)
