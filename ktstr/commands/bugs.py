"""``doit bugs``: whether bugs that were written down are found again: in the faulty version, and not in the mended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report, Turn
from ktstr.commands.declare.plans import cell_tasks, request_of
from ktstr.errors import EXIT_VERDICT, InputError
from ktstr.options import FLAG, LIST, GraphOptions, variable
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome, ExitRules, failure

if TYPE_CHECKING:
    from ktstr.config.bugdecl import Bug
    from ktstr.planning.bugs import BugPlan
    from ktstr.results.bugs import Finding


@dataclass(frozen=True)
class Options:
    """Which bugs, and what is printed."""

    graph: GraphOptions = GraphOptions()
    name: tuple[str, ...] = variable(LIST, "bugs, by glob or bare substring; default: all", (), environment=False)
    dry_run: bool = variable(FLAG, "show each bug's cells and why they would run; run nothing", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True, kw_only=True)
class Tried(Planned):
    """The plan of the last bug, which has the steps of all. ``each``: every bug with its plan and cells."""

    each: tuple[tuple[Bug, Planned], ...] = ()


def _plan(invocation: Invocation, options: Options) -> Planned:
    from ktstr.config.bugdecl import bug_files, chosen, read_bug
    from ktstr.planning.bugs import plan_bugs

    select, environ = options.graph.select, invocation.environ
    for name, value in (("test", select.test), ("scheduler", select.scheduler)):
        if value and not environ.get(f"KTSTR_{name.upper()}"):  # what it says of other commands is no word on this
            raise InputError(f"{name}={','.join(value)}: a bug has its own {name}", fix="name= selects bugs")
    files = chosen(bug_files(invocation.project.root), options.name)
    bugs = [read_bug(path) for path in files.values()]
    plans = plan_bugs(request_of(invocation, options.graph), bugs)
    each = tuple((made.bug, _planned(invocation, made)) for made in plans)
    last = each[-1][1]
    order = tuple(Turn(planned, cell) for _, planned in each for cell in planned.plan.by_machine)
    return Tried(plan=last.plan, cells=last.cells, remembered=last.remembered, order=order, each=each)


def _planned(invocation: Invocation, made: BugPlan) -> Planned:
    from ktstr.cells.cells import Cells
    from ktstr.cells.remembered import Remembered

    remembered = Remembered(made.plan)
    return Planned(made.plan, Cells(made.plan, invocation.ledger, remembered), remembered)


def _preview(invocation: Invocation, options: Options, planned: Planned) -> str | None:
    """Each bug and what is wrong, with its cells and why they would run; one JSON object with ``json=1``."""
    import json

    if not options.dry_run:
        return None
    assert isinstance(planned, Tried)
    previews = [_Preview(bug.name, " ".join(bug.about.split()), _cells(own)) for bug, own in planned.each]
    if options.json:
        return json.dumps({"bugs": [asdict(row) for row in previews]}, indent=2, ensure_ascii=False) + "\n"
    lines: list[str] = []
    for row in previews:
        lines.append(f"{row.name}: {row.about}")
        lines += [f"  {name}  {why}" for name, why in row.cells.items()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Preview:
    """A bug, and why each of its cells would run, by the cells' names."""

    name: str
    about: str
    cells: dict[str, str]


def _cells(planned: Planned) -> dict[str, str]:
    plan = planned.plan
    return {
        **{cell.name: planned.cells.why(cell) for cell in plan.cells},
        **{cell.name: f"error: {cell.error}" for cell in plan.broken},
        **{skip.name: f"skip: {skip.reason}" for skip in plan.skips},
    }


def _finish(invocation: Invocation, options: Options, planned: Planned) -> Report:
    from ktstr.results.bugs import render, to_json

    assert isinstance(planned, Tried)
    findings = [_finding(invocation, bug, own) for bug, own in planned.each]
    text = to_json(findings) if options.json else render(findings)
    return Report(text, 0 if all(finding.found for finding in findings) else EXIT_VERDICT)


def _finding(invocation: Invocation, bug: Bug, planned: Planned) -> Finding:
    from ktstr.results.bugs import Told, finding_of, run_of

    outcomes = list(_outcomes(invocation, planned))
    faulty = [run_of(outcome) for scheduler, outcome in outcomes if scheduler == bug.faulty]
    mended = [run_of(outcome) for scheduler, outcome in outcomes if scheduler == bug.mended]
    return finding_of(Told(bug.name, bug.about, bug.mended_in, bug.reason), faulty, mended)


def _outcomes(invocation: Invocation, planned: Planned) -> Iterator[tuple[str, CellOutcome]]:
    """What came of the cells of a bug, by scheduler: of those that did not get to run too."""
    plan, ledger = planned.plan, invocation.ledger
    for cell in plan.cells:
        parked = plan.parked(cell)
        machine = () if parked is None else (parked.task,)
        cause = ledger.cause((*plan.closure(cell.point.needs), *machine, f"cell:{cell.name}"))
        why = "was never reached" if cause is None else cause.message
        yield cell.key.scheduler, ledger.outcomes.get(cell.name) or CellOutcome(cell.name, Outcome.NOT_RUN, (why,))
    for broken in plan.broken:
        ledger.fail(f"scheduler:{broken.scheduler}", broken.error)
        yield broken.scheduler, failure(broken.name, broken.error)
    for skip in plan.skips:
        yield skip.key.scheduler, CellOutcome(skip.name, Outcome.SKIP, (skip.reason,))


COMMAND = Command(
    "bugs",
    "Run",
    "whether bugs that were written down are found again",
    Options,
    plan=_plan,
    preview=_preview,
    finish=_finish,
    rules=lambda options: ExitRules(verdicts=False),
    needs=cell_tasks,
    judges=True,
    alone=True,
)
