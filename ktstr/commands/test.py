"""``doit test``: run the declared cells and judge the scheduler."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.ended import called_as, reproduce, settle, write_junit
from ktstr.commands.declare.plans import cell_tasks, plan_cells
from ktstr.errors import HostError
from ktstr.options import TestOptions
from ktstr.results.ledger import CellOutcome, ExitRules

if TYPE_CHECKING:
    from ktstr.cells.comparisons import Comparisons
    from ktstr.planning.points import CellPlan
    from ktstr.results import summary


def _summaries(options: TestOptions, planned: Planned, outcomes: Sequence[CellOutcome]) -> list[summary.CellSummary]:
    from ktstr.results import summary

    plans = {cell.name: cell for cell in planned.plan.cells}
    every = options.testing.json or options.testing.verbose
    return [
        summary.CellSummary(
            name=o.name,
            verdict=o.verdict,
            reasons=o.reasons,
            seconds=o.seconds,
            ran=o.ran,
            sidecar=o.path,
            files=o.files,
            command=reproduce(plans[o.name], options.graph) if o.name in plans and (every or o.failed) else "",
        )
        for o in outcomes
    ]


def _compared(invocation: Invocation, planned: Planned, outcomes: Sequence[CellOutcome]) -> Comparisons | None:
    """The comparisons of two schedulers; None without a test that compares, or without what statistics need."""
    if not any(cell.point.test.compare for cell in planned.plan.cells):
        return None
    from ktstr.stats.needs import need_reports

    try:
        need_reports()
    except HostError as err:
        invocation.ledger.fail("compare", err)
        return None
    from ktstr.cells.comparisons import comparisons_of  # imports scipy

    return comparisons_of(planned.plan, outcomes, interrupted=bool(invocation.cancel.signal))


def _findings(planned: Planned, outcomes: Sequence[CellOutcome], compared: Comparisons | None) -> summary.Findings:
    from ktstr.results.summary import Findings

    documents = () if compared is None else compared.documents()
    if not any(cell.point.test.perf_delta for cell in planned.plan.cells):
        return Findings(comparisons=documents)
    from ktstr.cells.goals import goals_of  # reads sidecars: only for what declares goals

    return Findings([asdict(goal) for goal in goals_of(planned.plan, outcomes)], documents)


def _write_junit(
    invocation: Invocation, target: str, cells: Sequence[summary.CellSummary], compared: Comparisons | None
) -> None:
    from ktstr.results.junit import junit

    write_junit(invocation, target, junit(cells, () if compared is None else compared.cases()))


def finish_cells(invocation: Invocation, options: TestOptions, planned: Planned) -> Report:
    """Publish the view, remember the verdicts and give the report's text."""
    from ktstr.results import summary

    outcomes = settle(invocation, planned, options.testing.maxfail)
    cells = _summaries(options, planned, outcomes)
    compared = _compared(invocation, planned, outcomes)
    if options.testing.junit is not None:
        _write_junit(invocation, options.testing.junit, cells, compared)
    code = 0 if compared is None else compared.code(_rules(options))
    interrupted = bool(invocation.cancel.signal)
    if options.testing.json:
        findings = _findings(planned, outcomes, compared)
        return Report(summary.to_json(cells, findings, interrupted=interrupted), code)
    text = summary.table(
        cells, verbose=options.testing.verbose, interrupted=interrupted, replay=f"{called_as()} replay"
    )
    compared_text = "" if compared is None else compared.text(verbose=options.testing.verbose)
    return Report(text + _all_skipped(invocation) + compared_text, code)


def _all_skipped(invocation: Invocation) -> str:
    if not invocation.ledger.all_skipped():
        return ""
    return f"EVERY CELL WAS SKIPPED ({len(invocation.ledger.outcomes)}): nothing was tested\n"


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
    plan=plan_cells,
    preview=preview,
    finish=finish_cells,
    rules=_rules,
    needs=cell_tasks,
    judges=True,
    first=True,
)
