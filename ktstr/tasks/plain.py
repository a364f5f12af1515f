"""Plain ``doit`` in a ktstr project: the same front end, variables and exit codes.

The package registers these commands with doit under their own names. In a folder that is
not a ktstr project they are doit's own, unchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from doit.doit_cmd import DoitMain  # type: ignore[import-untyped]

from ktstr.config.project import find_root


def _take_over() -> None:
    """Leave doit's own command line for ours when a ktstr project is around us."""
    from ktstr.tasks.main import main

    if find_root(Path.cwd()) is not None:
        raise SystemExit(main(sys.argv[1:]))


def _ours(theirs: Any) -> Any:
    """doit's command, with our look around first."""

    def parse_execute(self: Any, in_args: list[str]) -> Any:
        _take_over()
        return theirs.parse_execute(self, in_args)

    name = theirs.get_name()
    return type(theirs.__name__, (theirs,), {"name": name, "parse_execute": parse_execute, "__doc__": theirs.__doc__})


(Help, Run, List, Info, Clean, Forget, Ignore, DumpDB, Strace, TabCompletion, ResetDep) = (
    _ours(command) for command in DoitMain.DOIT_CMDS
)
