"""The ``ktstr`` command: ``ktstr init`` makes a project; anything else is what ``doit`` takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ktstr.commands.init import run
from ktstr.results.ledger import ExitRules
from ktstr.tasks.main import guarded
from ktstr.tasks.main import main as front_end


def _init(argv: Sequence[str]) -> ExitRules:
    sys.stdout.write(run(argv))
    return ExitRules()


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["init"]:
        return guarded("ktstr", lambda ledger, cancel: _init(words[1:]), ExitRules())
    return front_end(words)
