"""Making the plan that a command asks for. Planning is imported by who plans: ``doit list`` does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ktstr.cluster.address import NONE
from ktstr.commands.declare.clusters import cluster_of
from ktstr.commands.declare.command import Invocation, Planned
from ktstr.options import GraphOptions, TestOptions
from ktstr.results.ledger import Ledger

if TYPE_CHECKING:
    from ktstr.planning.plan import Plan
    from ktstr.planning.request import Narrowing, Rebuild, Request


def plan_cells(invocation: Invocation, options: TestOptions, is_over: Callable[[], bool] | None = None) -> Planned:
    """The selected cells and all that they need. ``is_over``: whether no more of them are to be started; None for what
    ``maxfail=`` says. Raises as ``make_plan``."""
    from ktstr.planning.plan import make_plan
    from ktstr.planning.request import Narrowing

    testing = options.testing
    narrowing = Narrowing(testing.failed, testing.shard, _named_cells(invocation.words), budget_s=testing.budget_secs)
    request = request_of(invocation, options.graph, narrowing=narrowing)
    over = is_over or partial(failed_enough, invocation.ledger, testing.maxfail)
    return planned_of(invocation, make_plan(request), over)


def cell_tasks(planned: Planned) -> Iterable[str]:
    """The names of the tasks of all cells, as they are to run."""
    return (f"cell:{turn.cell.name}" for turn in planned.turns)


def plan_kernels(invocation: Invocation, options: GraphOptions, rebuild: Rebuild, words: Sequence[str]) -> Planned:
    """The kernels that ``words`` name, and no cells. Raises as ``make_plan``."""
    from ktstr.planning import plan

    request = request_of(invocation, built_here(options), rebuild=rebuild)
    return planned_of(invocation, plan.plan_kernels(request, words))


def built_here(options: GraphOptions) -> GraphOptions:
    """The options of what is only built, whatever cluster cells would run on: this host builds it."""
    return replace(options, running=replace(options.running, cluster=NONE))


def request_of(
    invocation: Invocation,
    options: GraphOptions,
    *,
    narrowing: Narrowing | None = None,
    rebuild: Rebuild | None = None,
) -> Request:
    """What a plan is made from."""
    from ktstr.host.limits import usable
    from ktstr.host.tokens import TokenPool
    from ktstr.planning.capacity import cells_mib
    from ktstr.planning.request import Narrowing, Rebuild, Request

    ours, cluster = usable(), cluster_of(invocation, options.running)
    return Request(
        project=invocation.project,
        environ=invocation.environ,
        options=options,
        progress=invocation.progress,
        tokens=TokenPool(options.running.jobs or ours.cpus, cells_mib(ours.memory_mib)),
        cancel=invocation.cancel,
        narrowing=narrowing or Narrowing(),
        rebuild=rebuild or Rebuild(),
        vmm="vmm" in invocation.words,
        hosts=() if cluster is None else cluster.hosts,
    )


def planned_of(
    invocation: Invocation, plan: Plan, is_over: Callable[[], bool] = lambda: False, times: int = 1
) -> Planned:
    """A plan with what runs its cells. ``is_over``: whether no more of them are to be started; ``times``: how often
    each one that runs does."""
    from ktstr.cells.cells import Cells
    from ktstr.cells.remembered import Remembered

    remembered = Remembered(plan)
    cluster = cluster_of(invocation, plan.request.options.running) if plan.request.hosts else None
    jobs = None if cluster is None else cluster.runner
    return Planned(plan, Cells(plan, invocation.ledger, remembered, is_over, times, jobs), remembered)


def failed_enough(ledger: Ledger, maxfail: int | None) -> bool:
    """Whether as many cells failed as ``maxfail=`` lets."""
    return maxfail is not None and ledger.failed_cells() >= maxfail


def _named_cells(words: Sequence[str]) -> tuple[str, ...]:
    """Words such as ``cell:TEST/...`` narrow the plan to those cells, unless all are wanted too."""
    if "test" in words or "cell" in words:
        return ()
    return tuple(word.removeprefix("cell:") for word in words if word.startswith("cell:"))
