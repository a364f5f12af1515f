"""``doit bugs``: whether bugs that were written down are found again: in the faulty version, and not in the mended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report, Turn
from ktstr.commands.declare.plans import cell_tasks, planned_of, request_of
from ktstr.errors import EXIT_VERDICT, HostError, InputError
from ktstr.options import FLAG, LIST, GraphOptions, variable
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome, ExitRules, failure

if TYPE_CHECKING:
    from ktstr.config.bugdecl import Bug
    from ktstr.config.model import CellKey
    from ktstr.planning.bugs import BugPlan, Unplanned
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
    """The plan of the last bug, which has the steps of all. ``each``: every bug with its plan and cells, or why it has
    none on this machine."""

    each: tuple[tuple[Bug, Planned | HostError], ...] = ()


def _plan(invocation: Invocation, options: Options) -> Planned:
    from ktstr.config.bugdecl import bug_files, chosen, read_bug
    from ktstr.planning.bugs import plan_bugs

    select = options.graph.select
    for name, value in (("test", select.test), ("scheduler", select.scheduler)):
        if _is_said(invocation, name, value):
            raise InputError(f"{name}={','.join(value)}: a bug has its own {name}", fix="name= selects bugs")
    files = chosen(bug_files(invocation.project.root), options.name)
    bugs = [read_bug(path) for path in files.values()]
    own = [bug.name for bug in bugs if bug.by_kernel]
    if own and _is_said(invocation, "kernel", select.kernel):
        raise InputError(
            f"kernel={','.join(select.kernel)}: the two versions of {', '.join(own)} are kernels of its own",
            fix="name= selects the other bugs",
        )
    plans = plan_bugs(request_of(invocation, options.graph), bugs)
    each = tuple((made.bug, _planned(invocation, made)) for made in plans)
    planned = [own for _, own in each if not isinstance(own, HostError)]
    last = planned[-1]
    order = tuple(Turn(own, cell) for own in planned for cell in own.plan.by_machine)
    return Tried(plan=last.plan, cells=last.cells, remembered=last.remembered, order=order, each=each)


def _is_said(invocation: Invocation, name: str, value: Sequence[str]) -> bool:
    """Whether a variable is given here: what the environment says of other commands is no word on this one."""
    return bool(value) and not invocation.environ.get(f"KTSTR_{name.upper()}")


def _planned(invocation: Invocation, made: BugPlan | Unplanned) -> Planned | HostError:
    from ktstr.planning.bugs import Unplanned

    if isinstance(made, Unplanned):
        invocation.ledger.fail(f"bug:{made.bug.name}", made.error)
        return made.error
    return planned_of(invocation, made.plan)


def _preview(invocation: Invocation, options: Options, planned: Planned) -> str | None:
    """Each bug and what is wrong, with its cells and why they would run; one JSON object with ``json=1``."""
    import json

    if not options.dry_run:
        return None
    assert isinstance(planned, Tried)
    previews = [_Preview(bug.name, " ".join(bug.about.split()), bug.takes, _cells(own)) for bug, own in planned.each]
    if options.json:
        return json.dumps({"bugs": [asdict(row) for row in previews]}, indent=2, ensure_ascii=False) + "\n"
    lines: list[str] = []
    for row in previews:
        lines.append(f"{row.name}: {row.about}" + (f" Takes {row.takes}." if row.takes else ""))
        lines += [f"  {name}  {why}" for name, why in row.cells.items()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Preview:
    """A bug, how long it takes, and why each of its cells would run, by the cells' names."""

    name: str
    about: str
    takes: str | None
    cells: dict[str, str]


def _cells(planned: Planned | HostError) -> dict[str, str]:
    if isinstance(planned, HostError):
        return {"none": f"error: {planned}"}
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


def _finding(invocation: Invocation, bug: Bug, planned: Planned | HostError) -> Finding:
    from ktstr.planning.bugs import is_of
    from ktstr.results.bugs import Run, Told, finding_of, run_of

    told = Told(bug.name, bug.about, bug.mended_in, bug.reason)
    if isinstance(planned, HostError):
        neither = [Run(Outcome.NOT_RUN, (planned.message,))]
        return finding_of(told, neither, neither)
    outcomes = list(_outcomes(invocation, planned))
    faulty = [run_of(outcome) for key, outcome in outcomes if is_of(bug.faulty, key)]
    mended = [run_of(outcome) for key, outcome in outcomes if is_of(bug.mended, key)]
    return finding_of(told, faulty, mended)


def _outcomes(invocation: Invocation, planned: Planned) -> Iterator[tuple[CellKey, CellOutcome]]:
    """What came of the cells of a bug: of those that did not get to run too."""
    plan, ledger = planned.plan, invocation.ledger
    for cell in plan.cells:
        parked = plan.parked(cell)
        machine = () if parked is None else (parked.task,)
        cause = ledger.cause((*plan.closure(cell.point.needs), *machine, f"cell:{cell.name}"))
        why = "was never reached" if cause is None else cause.message
        yield cell.key, ledger.outcomes.get(cell.name) or CellOutcome(cell.name, Outcome.NOT_RUN, (why,))
    for broken in plan.broken:
        ledger.fail(f"scheduler:{broken.scheduler}", broken.error)
        yield broken.key, failure(broken.name, broken.error)
    for skip in plan.skips:
        skipped = CellOutcome(skip.name, Outcome.SKIP, (skip.reason,))
        ledger.record(skipped)
        yield skip.key, skipped


COMMAND = Command(
    "bugs",
    "Run",
    "whether bugs that were written down are found again",
    Options,
    plan=_plan,
    preview=_preview,
    finish=_finish,
    rules=lambda options: ExitRules(verdicts=False, no_skip=options.graph.running.no_skip),
    needs=cell_tasks,
    judges=True,
    alone=True,
)
