"""Reports of commands in this process: what they are given, without a front end."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.commands.declare.command import Invocation, Report
from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import read_options
from ktstr.config.project import Project
from ktstr.progress import Progress
from ktstr.results.ledger import Ledger
from ktstr.results.view import Epoch


def run_report(
    project: Path, words: str, environ: Mapping[str, str] | None = None, cancel: Cancel | None = None
) -> Report:
    """What ``doit WORDS`` reports in a project where the user stands too. Raises what the command raises."""
    name, *given = words.split()
    command = builtin_commands()[name]
    values = {variable: [value] for variable, _, value in (word.partition("=") for word in given)}
    options = read_options(command.options, values, {})
    invocation = Invocation(
        project=Project(project, project, project / "target" / "ktstr"),
        environ=environ or {},
        words=(name,),
        progress=Progress(io.StringIO(), {}),
        cancel=cancel or Cancel(),
        ledger=Ledger(),
        epoch=Epoch("t", 0),
    )
    assert command.run is not None
    if command.plan is not None:
        assert command.plan(invocation, options) is None, "there is nothing to run"
    return command.run(invocation, options)
