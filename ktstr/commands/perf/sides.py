"""Both commits planned: their trees, their cells in turn, and when enough has been seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.cancel import Cancelled
from ktstr.cells.early import EarlyEnd
from ktstr.cells.publish import publish
from ktstr.commands.declare.command import Invocation, Planned, Turn
from ktstr.commands.declare.plans import planned_of, request_of
from ktstr.commands.perf.judged import ALPHA, judged_so_far, judging
from ktstr.commands.perf.options import Options
from ktstr.config.select import Selection
from ktstr.config.undeclared import with_undeclared
from ktstr.config.validated import load_config
from ktstr.errors import KtstrError
from ktstr.planning import pair as pairs
from ktstr.planning.machines import chosen_accel
from ktstr.planning.pair import BASE, HEAD, Couple, Pair
from ktstr.planning.points import CellPlan
from ktstr.planning.request import Request
from ktstr.results.baseline import Side, Sides, Wanted, changed_paths, resolve_sides
from ktstr.results.trees import tracked_files, tree_of
from ktstr.stats.inference.sequential import Look, looks


@dataclass(frozen=True, kw_only=True)
class Paired(Planned):
    """HEAD's plan with the baseline's beside it; ``order``: the cells of both that have to run.

    ``looks``: at which numbers of runs the results are looked at; ``early``: the first of two, None for one alone.
    """

    rival: Planned
    pair: Pair
    sides: Sides
    looks: tuple[Look, ...]
    early: EarlyEnd | None

    def look_made(self) -> Look:
        """The look that decides: the first, where everything was decided then, else the last."""
        return self.looks[0] if self.early is not None and self.early.came else self.looks[-1]


def sides_of(invocation: Invocation, options: Options) -> Sides:
    """The two commits. Raises InputError."""
    wanted = Wanted(options.base, options.base_ref, options.default_branch)
    return resolve_sides(invocation.project.root, wanted, invocation.environ)


def accel_of(invocation: Invocation, options: Options) -> str:
    """What is to run the guests, with ``auto`` resolved."""
    auto = chosen_accel(request_of(invocation, options.graph))
    return options.graph.select.accel if auto is None else auto.accel


@dataclass(frozen=True)
class Chosen:
    """What is compared: tests, and the schedulers that they are narrowed to (empty: as declared)."""

    accel: str
    tests: tuple[str, ...]
    schedulers: tuple[str, ...] = ()


def choose(invocation: Invocation, options: Options, sides: Sides) -> Chosen:
    """The tests of the perf set that are asked for and, with ``relevant=1``, that the change touches."""
    config, accel = load_config(invocation.project), accel_of(invocation, options)
    tests = pairs.chosen_tests(config, accel, options.graph.select.test)
    if not options.relevant:
        return Chosen(accel, tests)
    root, changed = invocation.project.root, changed_paths(sides)
    schedulers = pairs.relevant_schedulers(config, root, sides.workdir, changed)
    if schedulers is None:
        return Chosen(accel, tests)
    return Chosen(accel, tests if schedulers else (), schedulers)


def plan_sides(invocation: Invocation, options: Options) -> Paired | None:
    """Both sides' plans, in trees that are there until the invocation ends; None where nothing is to be compared."""
    judging(invocation, options, ALPHA)  # what is wrong with its limits is said before anything runs
    sides = sides_of(invocation, options)
    chosen = choose(invocation, options, sides)
    if not chosen.tests:
        return None
    requests = _requests(invocation, options, sides, chosen)
    pair = pairs.plan_pair(*requests)
    return _paired(invocation, options, sides, pair)


def _requests(invocation: Invocation, options: Options, sides: Sides, chosen: Chosen) -> tuple[Request, Request]:
    """The baseline's request, and HEAD's."""
    assert options.noise_adjust is not None
    graph = pairs.options_of(options.graph, chosen.tests, chosen.schedulers, options.noise_adjust)
    graph = replace(graph, select=replace(graph.select, accel=chosen.accel))
    request = request_of(invocation, graph)
    made = []
    for name, side in ((BASE, sides.base), (HEAD, sides.head)):
        tree = invocation.held.enter_context(
            tree_of(sides.workdir, side, invocation.project.runs_root, invocation.cancel)
        )
        own = pairs.side_request(request, sides, tree, name)
        _refuse_untracked(own, sides.workdir, side, tree)
        made.append(own)
    return made[0], made[1]


def _refuse_untracked(request: Request, workdir: Path, side: Side, tree: Path) -> None:
    """Raise InputError for a scheduler's program that the commit does not have."""
    select = request.options.select
    named = with_undeclared(load_config(request.project), select.scheduler, request.project.stand, request.environ)
    tests = tuple(name for name in select.test if name in named.config.tests)
    selection = Selection(tests, select.preset, select.kernel, named.patterns)
    programs = pairs.programs_of(named.config, selection) if tests else ()
    if programs:  # else no look at what is tracked
        pairs.refuse_untracked(named.config, tree, tracked_files(workdir, side), programs)


def _paired(invocation: Invocation, options: Options, sides: Sides, pair: Pair) -> Paired:
    assert options.noise_adjust is not None
    planned_looks = looks(options.noise_adjust, ALPHA)
    first = planned_looks[0]
    parts = _halves(pair.differing, first.runs)
    end = None
    if len(planned_looks) > 1:
        cells = tuple(cell.name for couple in parts[0] for cell in (couple.base, couple.head))
        end = EarlyEnd(
            invocation.ledger, cells, lambda: judged_so_far(invocation, options, parts[0], first.alpha).is_decided
        )
    is_over = end.is_over if end is not None else lambda: False
    ours, rival = (planned_of(invocation, plan, is_over) for plan in (pair.head, pair.base))
    of_base = {couple.base.name for couple in pair.differing}

    def turn(cell: CellPlan, other: CellPlan) -> Turn:
        sides = (rival, ours) if cell.name in of_base else (ours, rival)
        return Turn(sides[0], cell, Turn(sides[1], other))

    order = tuple(turn(cell, other) for part in parts for cell, other in pairs.interleaved(part))
    return Paired(
        plan=ours.plan, cells=ours.cells, remembered=ours.remembered, order=order, rival=rival, pair=pair, sides=sides,
        looks=planned_looks, early=end,
    )  # fmt: skip


def _halves(couples: Sequence[Couple], runs: int) -> tuple[list[Couple], list[Couple]]:
    """The cells of the first seeds, and all others."""
    early = [couple for couple in couples if couple.head.key.seed <= runs]
    return early, [couple for couple in couples if couple.head.key.seed > runs]


def publish_sides(invocation: Invocation, paired: Paired) -> None:
    """Each side's sidecars in a run directory of its own. One that cannot be filled costs the view, not the result."""
    for planned in (paired.rival, Planned(paired.plan, paired.cells, paired.remembered)):
        known = invocation.ledger.outcomes
        outcomes = [known[cell.name] for cell in planned.plan.cells if cell.name in known]
        try:
            publish(planned.plan, planned.remembered, invocation.epoch, outcomes)
        except Cancelled:
            return
        except KtstrError as err:
            invocation.ledger.fail("perf_delta", err)
