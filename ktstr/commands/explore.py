"""``doit explore``: a test under many seeds: how its metrics spread, which seeds are worst, and what of a failing one
matters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.ended import reproduce, settle
from ktstr.commands.declare.plans import cell_tasks, plan_cells
from ktstr.commands.test import preview
from ktstr.errors import InputError
from ktstr.options import COUNT, COUNT_OR_NONE, FLAG, WORD, GraphOptions, Testing, TestOptions, variable
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import ExitRules, Ledger

if TYPE_CHECKING:
    from ktstr.cells.explored import Seeds
    from ktstr.record.exploration import Minimised

FAIL = "fail"
SEEDS = "1..100"


@dataclass(frozen=True)
class Options:
    """Which cells, when to stop, and what is told."""

    graph: GraphOptions = GraphOptions()
    until: str | None = variable(WORD, "fail: start no more seeds once one failed", None)
    minimise: int = variable(COUNT_OR_NONE, "runs to find which changes of a failing seed matter; 0 for none", 64)
    worst: int = variable(COUNT, "how many of the worst seeds are shown", 5)
    metric: str | None = variable(WORD, "what seeds are worst in; default: what comes nearest to a limit", None)
    dry_run: bool = variable(FLAG, "show each cell and why it would run; run nothing", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    verbose: bool = variable(FLAG, "show the spread of every metric", False)
    allow_inconclusive: bool = variable(FLAG, "let Inconclusive cells exit 0", False)


@dataclass(frozen=True, kw_only=True)
class Exploring(Planned):
    """The plan of all seeds. ``ledger``: which has what stands."""

    ledger: Ledger


def _asked(options: Options) -> TestOptions:
    """The options of ``doit test`` for the same cells: some seeds where none is named, and on the machine that gives
    them again."""
    select = options.graph.select
    seeds = select.seeds or (() if select.seed is not None else (SEEDS,))
    select = replace(select, seeds=seeds, accel="icount" if select.accel == "auto" else select.accel)
    maxfail = 1 if options.until == FAIL else None  # what was then not started is no error
    testing = Testing(dry_run=options.dry_run, json=options.json, maxfail=maxfail)
    return TestOptions(replace(options.graph, select=select), testing)


def _plan(invocation: Invocation, options: Options) -> Planned:
    select = options.graph.select
    if not select.test:
        raise InputError("test=: found none, expected the test to explore", fix="doit explore test=NAME seeds=1..1000")
    if select.keep:
        raise InputError(f"keep={','.join(select.keep)}: explore finds which", fix="doit test runs a part of a seed")
    if options.until not in (None, FAIL):
        raise InputError(f"until={options.until}: expected {FAIL}")
    from ktstr.stats.needs import need_reports

    need_reports()  # before hours of runs
    ledger = invocation.ledger
    is_over = (lambda: _has_failed(ledger)) if options.until == FAIL else None
    planned = plan_cells(invocation, _asked(options), is_over)
    _check_metric(options.metric, planned)
    return Exploring(plan=planned.plan, cells=planned.cells, remembered=planned.remembered, ledger=ledger)


def _has_failed(ledger: Ledger) -> bool:
    return any(outcome.verdict == Outcome.FAIL for outcome in tuple(ledger.outcomes.values()))


def _check_metric(metric: str | None, planned: Planned) -> None:
    """Raise InputError for what no run can measure. Payloads have metrics of their own."""
    from ktstr.config.suggest import nearest
    from ktstr.record.metrics import METRICS

    if metric is None or metric in METRICS or any(cell.point.payloads for cell in planned.plan.cells):
        return
    hint = nearest(metric, METRICS)
    raise InputError(
        f"metric={metric}: found no such metric" + (f", nearest match {hint!r}" if hint else ""),
        fix="doit stats_list_metrics",
    )


def _preview(invocation: Invocation, options: Options, planned: Planned) -> str | None:
    return preview(invocation, _asked(options), planned)


def _needs(planned: Planned) -> Iterable[str]:
    """All cells; and what those run on that failed before, a part of which may have to run."""
    yield from cell_tasks(planned)
    if not isinstance(planned, Exploring):
        return  # another command's, whose graph has this one's task too
    needed: dict[str, None] = {}
    for turn in planned.turns:
        if planned.cells.stands(turn.cell) and planned.ledger.outcomes[turn.cell.name].verdict == Outcome.FAIL:
            needed.update(dict.fromkeys(turn.cell.point.needs))
    yield from needed


def _finish(invocation: Invocation, options: Options, planned: Planned) -> Report:
    from ktstr.cells.explored import Asked, by_scenario, explored
    from ktstr.record.codec import encode
    from ktstr.record.exploration import Exploration
    from ktstr.stats.explore.text import render

    whole = _asked(options)
    asked = whole.graph
    known = {o.name: o for o in settle(invocation, planned, whole.testing.maxfail, explain=False)}
    stopped = options.until == FAIL and _has_failed(invocation.ledger)
    how = Asked(options.worst, options.metric, stopped, lambda cell: reproduce(cell, asked))
    scenarios = [
        explored(seeds, how, _minimised(invocation, options, planned, seeds))
        for seeds in by_scenario(planned.plan, known)
    ]
    found = Exploration(interrupted=bool(invocation.cancel.signal), stopped=stopped, scenarios=tuple(scenarios))
    if options.json:
        return Report(json.dumps(encode(found), indent=2, ensure_ascii=False) + "\n")
    return Report(render(found, all_metrics=options.verbose))


def _minimised(invocation: Invocation, options: Options, planned: Planned, seeds: Seeds) -> Minimised | None:
    """What of its lowest failing seed matters; None without one, and where a run gives no second time what it gave."""
    if not options.minimise or seeds.first_failure is None or seeds.point.accel != "icount":
        return None
    from ktstr.cells.explored import as_told
    from ktstr.cells.minimise import Minimiser
    from ktstr.planning.points import compile_point
    from ktstr.scenarios.changed import words_of

    cell, outcome = seeds.first_failure
    if not cell.key.seed or invocation.cancel.signal:
        return None
    jobs, _ = planned.plan.request.tokens.total
    found = Minimiser(planned.plan, planned.cells, outcome, jobs, options.minimise).minimise(cell)
    plain = compile_point(cell.point, replace(cell.key, keep=()))
    words = words_of(found.cell.compiled, plain)
    return as_told(cell.key.seed, found, words, reproduce(found.cell, _asked(options).graph))


COMMAND = Command(
    "explore",
    "Run",
    "a test under many seeds: spreads, and the worst of them",
    Options,
    plan=_plan,
    preview=_preview,
    finish=_finish,
    rules=lambda options: ExitRules(allow_inconclusive=options.allow_inconclusive),
    needs=_needs,
    judges=True,
    alone=True,
)
