"""``doit perf_delta``: HEAD against a baseline commit, and whether it made the scheduler worse."""

from __future__ import annotations

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.plans import cell_tasks
from ktstr.commands.perf.options import EMPTY, Options, check
from ktstr.errors import EXIT_VERDICT
from ktstr.results.ledger import ExitRules


def _plan(invocation: Invocation, options: Options) -> Planned | None:
    check(options)
    from ktstr.stats.needs import need_reports

    need_reports()
    if options.noise_adjust is None:
        return None
    from ktstr.commands.perf.sides import plan_sides

    return plan_sides(invocation, options)


def _run(invocation: Invocation, options: Options) -> Report:
    """Where nothing is run: what is already measured of both commits, or that there is nothing to compare."""
    if options.noise_adjust is not None:
        return Report(EMPTY)
    from ktstr.commands.perf.cached import compare_cached

    return compare_cached(invocation, options)


def _finish(invocation: Invocation, options: Options, planned: Planned) -> Report:
    from ktstr.commands.perf.measured import result_of
    from ktstr.commands.perf.sides import Paired, publish_sides
    from ktstr.commands.perf.written import report

    assert isinstance(planned, Paired)
    publish_sides(invocation, planned)
    result = result_of(invocation, options, planned)
    return Report(report(invocation, options, result), EXIT_VERDICT if result.failed else 0)


COMMAND = Command(
    "perf_delta",
    "Results",
    "HEAD against a baseline commit: what got worse, and how sure",
    Options,
    plan=_plan,
    run=_run,
    finish=_finish,
    rules=lambda options: ExitRules(verdicts=False, no_skip=options.graph.running.no_skip),
    needs=cell_tasks,
    judges=True,
    alone=True,
)
