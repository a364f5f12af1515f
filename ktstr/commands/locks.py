"""``doit locks``: who holds which lock of ktstr on this host, once or again and again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.clusters import cluster_looked_at
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK
from ktstr.options import DURATION, FLAG, WORD, variable

if TYPE_CHECKING:
    from ktstr.cluster.connect import Connection

_CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True)
class Options:
    """How it is shown."""

    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    watch: float | None = variable(DURATION, "show it again and again, this far apart, until interrupted", None)
    cluster: str | None = variable(WORD, "of the workers of this Dask cluster: its scheduler's address", None)


def look(invocation: Invocation, options: Options) -> str:
    """Every lock, and who holds it now."""
    from ktstr.host import locks
    from ktstr.host.cache import cache_root
    from ktstr.host.cpu_topology import read_topology
    from ktstr.host.reserve import lock_dir

    environ = invocation.environ
    rows = locks.survey(read_topology(), lock_dir(environ), cache_root(environ), invocation.project.runs_root)
    return locks.to_json(rows, compact=options.watch is not None) if options.json else locks.to_text(rows)


def look_there(connection: Connection, options: Options) -> Report:
    """The same of each worker. 3 when one does not answer."""
    from ktstr.cluster import plugin, told
    from ktstr.cluster.upkeep import Locks
    from ktstr.cluster.visit import ask_workers
    from ktstr.host import locks

    answers = ask_workers(connection, Locks, plugin.tell_locks)
    if options.json:
        value = told.to_value(answers, lambda there: locks.to_value(there.sections))
        text = json.dumps(value, indent=None if options.watch is not None else 2) + "\n"
    else:
        text = told.to_text(answers, lambda there: locks.to_text(there.sections))
    return Report(text, EXIT_OK if told.all_answered(answers) else EXIT_ENVIRONMENT)


def run(invocation: Invocation, options: Options) -> Report:
    """Once, or with ``watch=`` until interrupted."""
    address = cluster_looked_at(invocation, options.cluster)
    if address is None:
        return _looking(invocation, options, lambda: Report(look(invocation, options)))
    from ktstr.cluster.visit import visiting

    with visiting(address, invocation.environ, invocation.cancel) as connection:
        return _looking(invocation, options, lambda: look_there(connection, options))


def _looking(invocation: Invocation, options: Options, looked: Callable[[], Report]) -> Report:
    """With ``watch=`` each look replaces the one before."""
    if options.watch is None:
        return looked()
    clear, last = _CLEAR if sys.stdout.isatty() and not options.json else "", Report()
    while not invocation.cancel.is_set():
        last = looked()
        sys.stdout.write(clear + last.text)
        sys.stdout.flush()
        invocation.cancel.wait(options.watch)
    return Report(code=last.code)


COMMAND = Command("locks", "Host", "who holds which lock of ktstr on this host", Options, run)
