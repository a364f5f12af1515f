"""``doit show_host``: what a sidecar would say of this host now."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report


@dataclass(frozen=True)
class Options:
    """It takes no variables."""


def run(invocation: Invocation, options: Options) -> Report:
    """The host, read anew."""
    from ktstr.host.context import capture
    from ktstr.stats.hosts import to_text

    return Report(to_text(capture()))


COMMAND = Command("show_host", "Host", "what results remember of this host, as it is now", Options, run)
