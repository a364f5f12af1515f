"""``doit stats_list_metrics``: the registry of metrics, with what a change of each has to be to count."""

from __future__ import annotations

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import Json


def run(invocation: Invocation, options: Json) -> Report:
    """A row for each metric."""
    from ktstr.stats import metric_list

    return Report(metric_list.to_json() if options.json else metric_list.to_text())


COMMAND = Command("stats_list_metrics", "Results", "all metrics, with polarity and gates", Json, run)
