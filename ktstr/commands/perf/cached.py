"""Comparing two commits by what is already measured of them: nothing is run."""

from __future__ import annotations

from dataclasses import replace

from ktstr.commands.declare.command import Invocation, Report
from ktstr.commands.declare.notes import warn
from ktstr.commands.perf.judged import policy_of
from ktstr.commands.perf.options import EMPTY, Options
from ktstr.commands.perf.sides import Chosen, choose, sides_of
from ktstr.commands.perf.written import report
from ktstr.config.patterns import match
from ktstr.config.validated import load_config
from ktstr.errors import EXIT_OK, EXIT_VERDICT
from ktstr.results.baseline import Sides
from ktstr.stats.compare import engine, text
from ktstr.stats.compare.filters import Filters
from ktstr.stats.compare.gate import FAIL_THRESHOLD, Gate, must_fail
from ktstr.stats.compare.policy import REGISTRY
from ktstr.stats.perf.averages import result_of_averages
from ktstr.stats.perf.result import PerfDelta
from ktstr.stats.pool import Pool, load_pool, skipped_note


def compare_cached(invocation: Invocation, options: Options) -> Report:
    """The sidecars of both commits' runs of the perf set, averaged and held against the registry's limits, or the
    user's. Raises InputError as ``stats.compare.engine``, where there is nothing of a side."""
    gate = Gate(
        FAIL_THRESHOLD if options.fail_threshold is None else options.fail_threshold,
        must_fail(options.must_fail, noise=False),
    )
    policy = policy_of(invocation, options) or REGISTRY
    sides = sides_of(invocation, options)
    chosen = choose(invocation, options, sides)
    if not chosen.tests:
        return Report(EMPTY)
    folder = invocation.project.runs(options.dir)
    whole = load_pool(folder, archive=options.dir is not None)
    warn([skipped_note(whole, folder)])
    pool = _of(whole, chosen, options)
    a, b = (Filters(project_commit=(side.label,)) for side in (sides.base, sides.head))
    found = engine.compare(pool, a, b, engine.Options(policy=policy, place=str(folder)))
    warn(found.warnings)
    result = _result(found, sides, gate, _declaring(invocation, pool, sides))
    code = EXIT_VERDICT if result.failed else EXIT_OK
    written = report(invocation, options, result)
    if options.json:
        return Report(written, code)
    return Report(_heading(sides) + text.render(found) + _footing(result), code)


def _of(pool: Pool, chosen: Chosen, options: Options) -> Pool:
    """The pool's runs of what is asked for."""
    runs = pool.runs[pool.runs["test_name"].isin(chosen.tests)]
    for column, patterns in (
        ("scheduler", options.graph.select.scheduler or chosen.schedulers),
        ("preset", options.graph.select.preset),
    ):
        if patterns:
            names = set(runs[column].dropna())
            runs = runs[runs[column].isin({name for pattern in patterns for name in match(pattern, names)})]
    return replace(pool, runs=runs)


def _result(found: engine.Comparison, sides: Sides, gate: Gate, declaring: int) -> PerfDelta:
    notes: tuple[str, ...] = ()
    if declaring:
        notes = (f"{declaring} test(s) declare gates, which only noise_adjust=N evaluates",)
    return result_of_averages(found, sides, gate, notes)


def _declaring(invocation: Invocation, pool: Pool, sides: Sides) -> int:
    """How many tests that HEAD has results of declare gates."""
    config = load_config(invocation.project)
    of_head = pool.runs[pool.runs["project_commit"] == sides.head.label]["test_name"].unique()
    return sum(bool(config.tests[name].perf_delta) for name in of_head if name in config.tests)


def _heading(sides: Sides) -> str:
    return f"perf-delta: B {sides.head.label} against A {sides.base.label} ({sides.how})\n"


def _footing(result: PerfDelta) -> str:
    lines = [*result.notes, *(f"FAILED: {why}" for why in result.failures)]
    return "".join(f"{line}\n" for line in lines)
