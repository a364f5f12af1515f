"""Plain ``doit`` in a ktstr project: the same front end, variables and exit codes.

The package registers these commands with doit under their own names. In a folder that is
not a ktstr project they are doit's own, unchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from doit.cmd_help import Help as DoitHelp  # type: ignore[import-untyped]
from doit.cmd_list import List as DoitList  # type: ignore[import-untyped]
from doit.cmd_run import Run as DoitRun  # type: ignore[import-untyped]

from ktstr.tasks.project import find_root


def _take_over() -> None:
    """Leave doit's own command line for ours when a ktstr project is around us."""
    from ktstr.tasks.main import main, running

    if not running() and find_root(Path.cwd()) is not None:
        raise SystemExit(main(sys.argv[1:]))


class Run(DoitRun):  # type: ignore[misc]
    """``doit [run]``."""

    name = "run"

    def parse_execute(self, in_args: list[str]) -> Any:
        _take_over()
        return super().parse_execute(in_args)


class List(DoitList):  # type: ignore[misc]
    """``doit list``."""

    name = "list"

    def parse_execute(self, in_args: list[str]) -> Any:
        _take_over()
        return super().parse_execute(in_args)


class Help(DoitHelp):  # type: ignore[misc]
    """``doit help``."""

    name = "help"

    def parse_execute(self, in_args: list[str]) -> Any:
        _take_over()
        return super().parse_execute(in_args)
