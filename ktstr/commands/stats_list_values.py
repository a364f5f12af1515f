"""``doit stats_list_values``: what there is to choose from in all results."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.commands.declare.notes import warn
from ktstr.options import FLAG, PATH, variable


@dataclass(frozen=True)
class Options:
    """Whose values."""

    dir: str | None = variable(PATH, "a folder of run directories, in place of the project's own", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """The distinct values of each dimension."""
    from ktstr.stats.needs import need_reports

    need_reports()
    from ktstr.stats import values
    from ktstr.stats.pool import load_pool, skipped_note

    root = invocation.project.runs(options.dir)
    pool = load_pool(root, archive=options.dir is not None)
    warn([skipped_note(pool, root)])
    if pool.runs.empty:
        sys.stderr.write(f"no sidecar data found in {root}: doit test makes the first\n")
    found = values.values_of(pool)
    return Report(values.to_json(found) if options.json else values.to_text(found))


COMMAND = Command("stats_list_values", "Results", "values of each dimension, to filter by", Options, run)
