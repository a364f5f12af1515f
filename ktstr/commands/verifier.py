"""``doit verifier``: what the kernel's BPF verifier makes of each scheduler, on each kernel and topology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report, Turn
from ktstr.commands.declare.plans import cell_tasks, request_of
from ktstr.errors import EXIT_VERDICT, InputError
from ktstr.options import FLAG, WORD, GraphOptions, variable
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import ExitRules

if TYPE_CHECKING:
    from ktstr.planning.plan import Plan
    from ktstr.planning.request import Request
    from ktstr.record.verification import VerifiedCell


@dataclass(frozen=True)
class Options:
    """Which schedulers, kernels and topologies, and what is printed."""

    graph: GraphOptions = GraphOptions()
    base: str | None = variable(WORD, "also of this commit of the project, and what changed since", None)
    raw: bool = variable(FLAG, "print the verifier's log of a refusal whole, its rounds not left out", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True, kw_only=True)
class Swept(Planned):
    """The sweep's plan. ``label``: what its commit is called, None where no other one is compared; ``rival``: the other
    commit's."""

    label: str | None = None
    rival: Swept | None = None


def _plan(invocation: Invocation, options: Options) -> Planned:
    from ktstr.config.validated import load_config
    from ktstr.planning import sweep

    select = options.graph.select
    if select.test and not invocation.environ.get("KTSTR_TEST"):  # what it says of other commands is no word on this
        raise InputError(f"test={','.join(select.test)}: the sweep has its own test", fix="doit test runs yours")
    if select.work_type and not invocation.environ.get("KTSTR_WORK_TYPE"):
        raise InputError(f"work_type={select.work_type}: the sweep has its own workers", fix="doit test replaces yours")
    sweep.check_schedulers(load_config(invocation.project), select.scheduler)
    graph = replace(options.graph, select=replace(select, test=(), work_type=None))
    declared = partial(sweep.swept, everywhere=bool(select.preset))
    request = replace(request_of(invocation, graph), declared=declared)
    if options.base is None:
        return _swept(invocation, _made(request), None)
    return _both(invocation, options.base, request)


def _made(request: Request, beside: Plan | None = None) -> Plan:
    from ktstr.planning import sweep
    from ktstr.planning.plan import make_plan

    plan = make_plan(request, beside)
    sweep.check_kernels(plan)
    return plan


def _both(invocation: Invocation, base: str, request: Request) -> Swept:
    """The sweep of two commits, each in a tree of its own."""
    from ktstr.planning.pair import BASE, HEAD, side_request
    from ktstr.results.baseline import Wanted, resolve_sides
    from ktstr.results.trees import tree_of

    project = invocation.project
    sides = resolve_sides(project.root, Wanted(base, None, "main"), invocation.environ)
    plans: list[Plan] = []
    for name, side in ((BASE, sides.base), (HEAD, sides.head)):
        tree = tree_of(sides.workdir, side, project.runs_root, invocation.cancel)
        own = side_request(request, sides, invocation.held.enter_context(tree), name)
        plans.append(_made(own, plans[0] if plans else None))
    rival = _swept(invocation, plans[0], sides.base.label)
    ours = _swept(invocation, plans[1], sides.head.label)
    order = (*(Turn(rival, cell) for cell in plans[0].cells), *(Turn(ours, cell) for cell in plans[1].cells))
    return replace(ours, rival=rival, order=order)


def _swept(invocation: Invocation, plan: Plan, label: str | None) -> Swept:
    from ktstr.cells.cells import Cells
    from ktstr.cells.remembered import Remembered

    remembered = Remembered(plan)
    return Swept(plan=plan, cells=Cells(plan, invocation.ledger, remembered), remembered=remembered, label=label)


def _finish(invocation: Invocation, options: Options, planned: Planned) -> Report:
    import json

    from ktstr.checks.verifier.report import report
    from ktstr.record.codec import encode
    from ktstr.results.verifier_text import render

    assert isinstance(planned, Swept)
    sides = [planned] if planned.rival is None else [planned.rival, planned]
    found = report([cell for side in sides for cell in _cells(invocation, options, side)])
    refused = any(cell.status in ("refused", "lost") for cell in found.cells)
    text = json.dumps(encode(found), indent=2, ensure_ascii=False) + "\n" if options.json else render(found)
    return Report(text, EXIT_VERDICT if refused else 0)


def _cells(invocation: Invocation, options: Options, side: Swept) -> Iterator[VerifiedCell]:
    from ktstr.cells.verified import missing_cell, verified_cell
    from ktstr.results.ledger import CellOutcome

    known = invocation.ledger.outcomes
    for cell in side.plan.cells:
        cause = invocation.ledger.cause((*side.plan.closure(cell.point.needs), f"cell:{cell.name}"))
        why = "was never reached" if cause is None else cause.message
        outcome = known.get(cell.name) or CellOutcome(cell.name, Outcome.NOT_RUN, (why,))
        record = side.cells.record(cell) if outcome.verdict not in (Outcome.NOT_RUN, Outcome.ERROR) else None
        yield verified_cell(cell, outcome, record, side.label, raw=options.raw)
    for skip in side.plan.skips:
        invocation.ledger.record(CellOutcome(skip.name, Outcome.SKIP, (skip.reason,)))
        if skip.host:
            yield missing_cell(skip.name, skip.key.scheduler, side.label, skip.reason)
    for broken in side.plan.broken:
        yield missing_cell(broken.name, broken.scheduler, side.label, broken.error.message)
        invocation.ledger.fail(f"scheduler:{broken.scheduler}", broken.error)


COMMAND = Command(
    "verifier",
    "Run",
    "what the BPF verifier makes of each scheduler, on each kernel",
    Options,
    plan=_plan,
    finish=_finish,
    rules=lambda options: ExitRules(verdicts=False, no_skip=options.graph.running.no_skip),
    needs=cell_tasks,
    judges=True,
    alone=True,
)
