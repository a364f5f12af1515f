"""``doit test``: run the declared cells and judge the scheduler."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.cancel import Cancelled
from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.plans import cell_tasks, plan_cells
from ktstr.errors import HostError, KtstrError
from ktstr.files import write_atomic
from ktstr.options import TestOptions
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome, ExitRules, failure

if TYPE_CHECKING:
    from ktstr.cells.comparisons import Comparisons
    from ktstr.planning.plan import Plan
    from ktstr.planning.points import CellPlan
    from ktstr.results import summary


def reproduce(cell: CellPlan, options: TestOptions) -> str:
    """One copyable command that runs this cell and no other."""
    from shlex import quote  # not paid for by ``doit list``

    building = options.graph.building
    pins = {
        "test": cell.key.test,
        "preset": cell.key.preset,
        "kernel": cell.key.kernel,
        "scheduler": cell.key.scheduler,
        "work_type": options.graph.select.work_type or "",
        "accel": cell.point.accel,
        "seed": str(cell.key.seed),
        "kconfig": ",".join(building.kconfig),
        "CC": building.CC or "",
        "LLVM": building.LLVM or "",
        "release": "1" if options.graph.running.release else "",
        "rerun": "1",
    }
    words = (quote(f"{name}={value}") for name, value in pins.items() if value)
    return f"{os.environ.get('KTSTR_CALLED_AS') or 'doit'} test {' '.join(words)}"


def _missing(invocation: Invocation, options: TestOptions, planned: Planned, cell: CellPlan) -> CellOutcome:
    """The outcome of a cell that never got to run."""
    parked = planned.plan.parked(cell)
    machine = () if parked is None else (parked.task,)
    cause = invocation.ledger.cause((*planned.plan.closure(cell.point.needs), *machine, f"cell:{cell.name}"))
    if cause is not None:
        return CellOutcome(cell.name, Outcome.ERROR, (cause.message,), error=cause)
    if invocation.cancel.signal or options.testing.maxfail is not None:
        why = "interrupted" if invocation.cancel.signal else "stopped by maxfail="
        return CellOutcome(cell.name, Outcome.NOT_RUN, (why,))
    return CellOutcome(cell.name, Outcome.ERROR, ("was never reached",))


def _outcomes(invocation: Invocation, options: TestOptions, planned: Planned) -> list[CellOutcome]:
    """What came of every planned cell, in the plan's order."""
    plan, known = planned.plan, invocation.ledger.outcomes
    ran = [known.get(cell.name) or _missing(invocation, options, planned, cell) for cell in plan.cells]
    broken = [failure(cell.name, cell.error) for cell in plan.broken]
    return [*ran, *broken, *_skipped(plan)]


def _skipped(plan: Plan) -> Iterable[CellOutcome]:
    if not plan.skips:
        return ()
    from ktstr.cells.judge import skipped  # sidecars are made: not for a run with nothing to do

    return (skipped(plan, skip) for skip in plan.skips)


def _published(invocation: Invocation, planned: Planned, outcomes: Sequence[CellOutcome]) -> Sequence[CellOutcome]:
    """The outcomes with their paths in the view. One that cannot be filled costs the view, not the report."""
    from ktstr.cells.publish import publish

    try:
        return publish(planned.plan, planned.remembered, invocation.epoch, outcomes)
    except Cancelled:
        return outcomes
    except KtstrError as err:
        invocation.ledger.fail("test", err)
        return outcomes


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
            command=reproduce(plans[o.name], options) if o.name in plans and (every or o.failed) else "",
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

    cases = () if compared is None else compared.cases()
    try:
        write_atomic(invocation.project.stand / target, junit(cells, cases).encode())
    except HostError as err:
        invocation.ledger.fail(f"junit={target}", err)


def finish_cells(invocation: Invocation, options: TestOptions, planned: Planned) -> Report:
    """Publish the view, remember the verdicts and give the report's text."""
    from ktstr.results import summary
    from ktstr.results.last import remember_verdicts

    outcomes = _published(invocation, planned, _outcomes(invocation, options, planned))
    verdicts = {outcome.name: outcome.verdict for outcome in outcomes if outcome.verdict != Outcome.NOT_RUN}
    remember_verdicts(invocation.project.state, verdicts)
    for outcome in outcomes:
        invocation.ledger.record(outcome)
    _explain(outcomes)
    cells = _summaries(options, planned, outcomes)
    compared = _compared(invocation, planned, outcomes)
    if options.testing.junit is not None:
        _write_junit(invocation, options.testing.junit, cells, compared)
    code = 0 if compared is None else compared.code(_rules(options))
    interrupted = bool(invocation.cancel.signal)
    if options.testing.json:
        findings = _findings(planned, outcomes, compared)
        return Report(summary.to_json(cells, findings, interrupted=interrupted), code)
    text = summary.table(cells, verbose=options.testing.verbose, interrupted=interrupted)
    compared_text = "" if compared is None else compared.text(verbose=options.testing.verbose)
    return Report(text + _all_skipped(invocation) + compared_text, code)


def _explain(outcomes: Sequence[CellOutcome]) -> None:
    """On standard error: what happened to schedulers that were lost."""
    if not any(outcome.failed for outcome in outcomes):
        return
    from ktstr.cells.dumps import told  # records and their types: not for a run in which all is well

    if text := told(outcomes):
        sys.stderr.write(text)


def _all_skipped(invocation: Invocation) -> str:
    if not invocation.ledger.all_skipped():
        return ""
    return f"EVERY CELL WAS SKIPPED ({len(invocation.ledger.outcomes)}): nothing was tested\n"


def _preview(invocation: Invocation, options: TestOptions, planned: Planned) -> str | None:
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
    testing = options.testing
    return ExitRules(allow_inconclusive=testing.allow_inconclusive, no_skip=testing.no_skip, bisect=testing.bisect)


COMMAND = Command(
    "test",
    "Run",
    "run the declared cells and judge the scheduler",
    TestOptions,
    plan=plan_cells,
    preview=_preview,
    finish=finish_cells,
    rules=_rules,
    needs=cell_tasks,
    judges=True,
    first=True,
)
