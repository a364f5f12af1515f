"""``doit stats_explain_sidecar run=NAME``: which numbers a run's sidecars lack, and why."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import FLAG, PATH, TEXT, variable


@dataclass(frozen=True)
class Options:
    """Which run."""

    run: str | None = variable(TEXT, "the run directory's name, as doit stats_list shows it", None)
    dir: str | None = variable(PATH, "the folder of run directories; default: the project's own", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """Every sidecar of the run. One that is corrupt is part of the report, not an error."""
    from ktstr.stats import explain
    from ktstr.stats.named_run import find_run

    root = invocation.project.runs(options.dir)
    walk = explain.walk_run(find_run(root, options.run or ""))
    return Report(explain.to_json(walk) if options.json else explain.to_text(walk))


COMMAND = Command("stats_explain_sidecar", "Results", "what sidecars do not say, and why", Options, run)
