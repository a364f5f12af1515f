"""``doit replay``: the cells that did not pass, run again exactly, and whether they are fixed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report, Turn
from ktstr.commands.declare.ended import reproduce, settle, write_junit
from ktstr.commands.declare.notes import warn
from ktstr.commands.declare.plans import cell_tasks, planned_of, request_of
from ktstr.errors import EXIT_INPUT, EXIT_OK, EXIT_VERDICT, InputError
from ktstr.options import COUNT, FLAG, PATH, TEXT, GraphOptions, variable
from ktstr.results.ledger import CellOutcome, ExitRules

if TYPE_CHECKING:
    from ktstr.cells.cells import Cells
    from ktstr.planning.points import CellPlan
    from ktstr.planning.replay import Dropped, Group, Replay
    from ktstr.record.failed import FailedCell
    from ktstr.results import replayed


@dataclass(frozen=True)
class Options:
    """Which cells, and what is said of them."""

    graph: GraphOptions = GraphOptions()
    run: str | None = variable(TEXT, "those of this run directory, as doit stats_list shows it", None)
    dir: str | None = variable(PATH, "those of this folder of run directories; default: the last that failed", None)
    times: int = variable(COUNT, "run each so often, where it runs in real time", 1)
    dry_run: bool = variable(FLAG, "show each cell and why it would run; run nothing", False)
    junit: str | None = variable(PATH, "also write a JUnit XML file", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True, kw_only=True)
class Replaying(Planned):
    """The plan of the last group, which has the steps of all. ``each``: every group with its plan and cells."""

    replay: Replay
    each: tuple[tuple[Group, Planned], ...] = ()


def _failed(invocation: Invocation, options: Options) -> tuple[FailedCell, ...]:
    """The cells that are meant. Raises InputError where there are some, and the selection means none."""
    from ktstr.planning.replay import chosen, spelled

    select, project = options.graph.select, invocation.project
    if options.run is None and options.dir is None:
        from ktstr.results.last import failed_cells

        return chosen(failed_cells(project.state).values(), select)
    from ktstr.stats.failed_runs import failed_in
    from ktstr.stats.named_run import find_run
    from ktstr.stats.scan import scan_root, scan_run

    root = project.runs(options.dir)
    if options.run is None and not root.is_dir():
        raise InputError(f"dir={options.dir}: found no folder {root}, expected one of run directories")
    scan = scan_root(root) if options.run is None else scan_run(find_run(root, options.run))
    if not scan.files:
        raise InputError(f"{root}: found no sidecar", fix="doit stats_list shows the runs that there are")
    found = failed_in(scan, named=options.run is not None)
    warn([f"{path}: no sidecar that can be read: passed over" for path in found.unreadable])
    return chosen(spelled(found.cells.values(), select.kernel, project.stand), select)


def _plan(invocation: Invocation, options: Options) -> Planned | None:
    failed = _failed(invocation, options)
    if not failed:
        return None
    from ktstr.planning.replay import plan_replay

    replay = plan_replay(request_of(invocation, options.graph), failed, options.times)
    if not replay.groups:
        return None
    each = tuple((group, planned_of(invocation, group.plan, times=group.times)) for group in replay.groups)
    last = each[-1][1]
    order = tuple(Turn(planned, cell) for _, planned in each for cell in planned.plan.by_machine)
    return Replaying(
        plan=last.plan, cells=last.cells, remembered=last.remembered, order=order, replay=replay, each=each
    )


def _run(invocation: Invocation, options: Options) -> Report:
    """Where there is nothing to run: nothing failed, or whatever did is there no more."""
    failed = _failed(invocation, options)
    if failed:
        from ktstr.planning.replay import plan_replay

        dropped = plan_replay(request_of(invocation, options.graph), failed, options.times).dropped
        return _report(invocation, options, _drops(dropped), ("NOTHING WAS RUN: whatever failed is there no more",))
    where = "in that run" if options.run or options.dir else "last time"
    return _report(invocation, options, (), (f"NOTHING FAILED {where}: nothing was run",))


def _preview(invocation: Invocation, options: Options, planned: Planned) -> str | None:
    """Each cell and why it would run, or why it is there no more; one JSON object with ``json=1``."""
    if not options.dry_run:
        return None
    assert isinstance(planned, Replaying)
    rows = [row for group, own in planned.each for row in _rows(group, own)]
    rows += [_Row(drop.cell.name, f"dropped: {drop.reason}") for drop in planned.replay.dropped]
    if options.json:
        return json.dumps({"cells": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False) + "\n"
    return "".join(f"{row.name}  {row.why}\n{_changed(row)}" for row in rows)


@dataclass(frozen=True)
class _Row:
    """A cell of a preview. ``changed``: of its inputs since it failed, None where nobody knows."""

    name: str
    why: str
    changed: tuple[str, ...] | None = None


def _rows(group: Group, own: Planned) -> Iterator[_Row]:
    from ktstr.cells.replayed import changes_since

    failed = {cell.name: cell for cell in group.cells}
    for cell in own.plan.cells:
        changes = changes_since(failed[cell.name], own.plan, cell)
        yield _Row(cell.name, own.cells.why(cell), None if changes is None else tuple(map(str, changes)))
    for broken in own.plan.broken:
        yield _Row(broken.name, f"error: {broken.error}")


def _changed(row: _Row) -> str:
    return "".join(f"    changed since: {change}\n" for change in row.changed or ())


def _finish(invocation: Invocation, options: Options, planned: Planned) -> Report:
    assert isinstance(planned, Replaying)
    found: list[replayed.Replayed] = []
    for group, own in planned.each:
        found += _group(group, own, {outcome.name: outcome for outcome in settle(invocation, own)})
    times = "times= counts in real time only: counted instructions (icount) repeat exactly, so those ran once"
    exact = options.times > 1 and any(group.times < options.times for group, _ in planned.each)
    return _report(invocation, options, (*found, *_drops(planned.replay.dropped)), (times,) if exact else ())


def _group(group: Group, own: Planned, outcomes: dict[str, CellOutcome]) -> Iterator[replayed.Replayed]:
    """What became of the cells of one plan."""
    from ktstr.cells.replayed import became

    plans = {cell.name: cell for cell in own.plan.cells}
    for cell in group.cells:
        outcome, planned = outcomes[cell.name], plans.get(cell.name)
        runs = _runs(own.cells, planned, outcome)
        made = became(cell, own.plan, planned, runs)
        command = "" if planned is None else reproduce(planned, own.plan.request.options)
        yield replace(made, sidecar=outcome.path, files=outcome.files, command=command)


def _runs(cells: Cells, planned: CellPlan | None, outcome: CellOutcome) -> Sequence[CellOutcome]:
    """Every run of a cell; the one outcome of one that did not run now."""
    return (() if planned is None else cells.runs(planned)) or (outcome,)


def _drops(dropped: Sequence[Dropped]) -> tuple[replayed.Replayed, ...]:
    from ktstr.cells.replayed import was
    from ktstr.results.replayed import Fate, Replayed

    return tuple(
        Replayed(
            drop.cell.name, Fate.DROPPED, drop.reason, was(drop.cell), since=drop.cell.measured_at,
            commit=drop.cell.project_commit,
        )
        for drop in dropped
    )  # fmt: skip


def _report(
    invocation: Invocation, options: Options, cells: Sequence[replayed.Replayed], notes: tuple[str, ...]
) -> Report:
    from ktstr.results import replayed

    report = replayed.Report(tuple(cells), notes, interrupted=bool(invocation.cancel.signal))
    if options.junit is not None:
        write_junit(invocation, options.junit, replayed.to_junit(report))
    text = replayed.to_json(report) if options.json else replayed.to_text(report)
    return Report(text, _code(report))


def _code(report: replayed.Report) -> int:
    """1 for what is not fixed; a replay of nothing but cells that are there no more selected nothing."""
    counts = report.counts()
    if any(counts[fate] for fate in ("persistent", "mixed", "inconclusive")):
        return EXIT_VERDICT
    return EXIT_INPUT if report.cells and not counts["fixed"] else EXIT_OK


COMMAND = Command(
    "replay",
    "Run",
    "the cells that failed, again: fixed, or not, and what changed",
    Options,
    run=_run,
    plan=_plan,
    preview=_preview,
    finish=_finish,
    rules=lambda options: ExitRules(verdicts=False),
    needs=cell_tasks,
    judges=True,
    alone=True,
)
