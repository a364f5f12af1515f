"""``doit stats_list``: run directories, newest first."""

from __future__ import annotations

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import Json


def run(invocation: Invocation, options: Json) -> Report:
    """A row for each run directory."""
    from ktstr.stats import runs

    rows = runs.list_runs(invocation.project.runs_root)
    return Report(runs.to_json(rows) if options.json else runs.to_text(rows))


COMMAND = Command("stats_list", "Results", "run directories, newest first", Json, run)
