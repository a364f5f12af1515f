"""The ``ktstr`` command: ``ktstr init`` makes a project; anything else is what ``doit`` takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ktstr.errors import KtstrError


def _init(argv: Sequence[str]) -> int:
    from ktstr.commands.init import run

    try:
        sys.stdout.write(run(argv))
    except KtstrError as err:
        sys.stderr.write(f"ktstr: {err}\n")
        return err.exit_code
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["init"]:
        return _init(words[1:])
    from ktstr.tasks.main import main as front_end

    return front_end(words)
