"""The variables of ``doit perf_delta``, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.errors import InputError
from ktstr.options import (
    COUNT,
    COUNT_OR_NONE,
    FLAG,
    LIST,
    PATH,
    PERCENT,
    RULE,
    WORD,
    GraphOptions,
    variable,
)

EMPTY = "perf_delta: nothing to compare: no selected test declares perf_delta:, or none that the change touches\n"


@dataclass(frozen=True)
class Phases:
    """Which phases are shown beside whole runs."""

    no_phases: bool = variable(FLAG, "compare whole runs only", False)
    phases_only: bool = variable(FLAG, "show phases only", False)
    steps_only: bool = variable(FLAG, "of the phases, leave out BASELINE", False)
    phase: int | None = variable(COUNT_OR_NONE, "of the phases, only this one; 0 is BASELINE, 1 the first step", None)
    phase_threshold: float | None = variable(PERCENT, "hide phases' changes below this percentage", None)


@dataclass(frozen=True)
class Options:
    """Of ``doit perf_delta``."""

    graph: GraphOptions = GraphOptions()
    base: str | None = variable(WORD, "the baseline, a commit", None)
    base_ref: str | None = variable(WORD, "a branch whose merge-base with HEAD is the baseline", None)
    default_branch: str = variable(WORD, "that branch where none is given", "main")
    noise_adjust: int | None = variable(COUNT, "run both commits this often (at least 2) and judge by statistics", None)
    rule: str = variable(RULE, "ranks (exact, controls false alarms) or welch (the reference's)", "ranks")
    threshold: float | None = variable(PERCENT, "how large a change counts, in percent, for every metric", None)
    policy: str | None = variable(PATH, "a file with such limits by metric", None)
    fail_threshold: int | None = variable(
        COUNT_OR_NONE,
        "fail at so many regressions, 0 never; default 1, averages and welch 5",
        None,
    )
    must_fail: tuple[str, ...] = variable(LIST, "metrics of which one regression fails it", ())
    relevant: bool = variable(FLAG, "only what the change touches: nothing for documents alone", False)
    all_metrics: bool = variable(FLAG, "show what did not change too", False)
    noise_spread_threshold: float = variable(PERCENT, "mark sides whose runs spread by more percent", 5.0)
    phases: Phases = Phases()
    dir: str | None = variable(PATH, "without noise_adjust=: run directories other than this project's", None)
    junit: str | None = variable(PATH, "also write a JUnit XML file", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def check(options: Options) -> None:
    """Refuse variables that do not go together. Raises InputError."""
    if options.threshold is not None and options.policy is not None:
        raise InputError("threshold= and policy=: found both, expected one of them")
    phases = options.phases
    if phases.no_phases and (phases.phases_only or phases.steps_only or phases.phase is not None):
        raise InputError("no_phases=1: found another variable about phases beside it, expected none")
    if phases.steps_only and phases.phase is not None:
        raise InputError("steps_only=1 and phase=: found both, expected one of them")
    if options.noise_adjust is None:
        _check_cached(options)
    elif options.noise_adjust < 2:
        raise InputError(f"noise_adjust={options.noise_adjust}: expected at least 2: one run of a side has no noise")
    elif not options.graph.select.kernel:
        raise InputError(
            "noise_adjust=: found no kernel=, expected the kernel to run both commits on", fix="kernel=default"
        )
    elif options.graph.select.seed is not None or options.graph.select.seeds:
        raise InputError("seeds=: with noise_adjust=N seeds 1 to N are the runs; expected none given")


def _check_cached(options: Options) -> None:
    """Without runs of its own there is nothing that these could change."""
    defaults = Options()
    phases = [name for name in vars(defaults.phases) if getattr(options.phases, name) != getattr(defaults.phases, name)]
    given = [*phases, *(["rule"] if options.rule != defaults.rule else [])]
    if given:
        raise InputError(
            f"{given[0]}=: found no noise_adjust=, expected it too: without it nothing is run", fix="noise_adjust=5"
        )
