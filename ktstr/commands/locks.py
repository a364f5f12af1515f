"""``doit locks``: who holds which lock of ktstr on this host, once or again and again."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import DURATION, FLAG, variable

_CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True)
class Options:
    """How it is shown."""

    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    watch: float | None = variable(DURATION, "show it again and again, this far apart, until interrupted", None)


def look(invocation: Invocation, options: Options) -> str:
    """Every lock, and who holds it now."""
    from ktstr.host import locks
    from ktstr.host.cache import cache_root
    from ktstr.host.cpu_topology import read_topology
    from ktstr.host.reserve import lock_dir

    environ = invocation.environ
    rows = locks.survey(read_topology(), lock_dir(environ), cache_root(environ), invocation.project.runs_root)
    return locks.to_json(rows, compact=options.watch is not None) if options.json else locks.to_text(rows)


def run(invocation: Invocation, options: Options) -> Report:
    """Once, or with ``watch=`` until interrupted; then each look replaces the one before."""
    if options.watch is None:
        return Report(look(invocation, options))
    clear = _CLEAR if sys.stdout.isatty() and not options.json else ""
    while not invocation.cancel.is_set():
        sys.stdout.write(clear + look(invocation, options))
        sys.stdout.flush()
        invocation.cancel.wait(options.watch)
    return Report()


COMMAND = Command("locks", "Host", "who holds which lock of ktstr on this host", Options, run)
