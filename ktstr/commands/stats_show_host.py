"""``doit stats_show_host run=NAME``: the host that a run was measured on."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import PATH, TEXT, variable


@dataclass(frozen=True)
class Options:
    """Which run."""

    run: str | None = variable(TEXT, "the run directory's name, as doit stats_list shows it", None)
    dir: str | None = variable(PATH, "the folder of run directories; default: the project's own", None)


def run(invocation: Invocation, options: Options) -> Report:
    """The host of the run's first sidecar that has one."""
    from ktstr.stats.hosts import host_of_run, to_text
    from ktstr.stats.named_run import find_run

    root = invocation.project.runs(options.dir)
    name = options.run or ""
    return Report(to_text(host_of_run(find_run(root, name), name)))


COMMAND = Command("stats_show_host", "Results", "the host that a run was measured on", Options, run)
