"""doit's own program, without the commands that packages register: ours under these names would start us again."""

from __future__ import annotations

from typing import Any

from doit.doit_cmd import DoitMain  # type: ignore[import-untyped]
from doit.plugin import PluginDict  # type: ignore[import-untyped]


class Doit(DoitMain):  # type: ignore[misc]
    """doit with its core commands."""

    def get_cmds(self) -> Any:
        commands = PluginDict()
        for command in self.DOIT_CMDS:
            commands[command.get_name()] = command
        return commands
