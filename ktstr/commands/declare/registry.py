"""All commands, found by looking into the package: adding one is adding its module."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ktstr.commands.declare.command import Command

GROUPS = ("Run", "Build", "Kernels", "Results", "Host")  # the order of ``doit list``


def commands_in(namespace: Mapping[str, Any]) -> Iterable[Command[Any]]:
    """The commands that a module's names are bound to."""
    for value in namespace.values():
        if isinstance(value, Command):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Command))


@cache
def builtin_commands() -> Mapping[str, Command[Any]]:
    """The commands that come with ktstr by name, in the order of ``doit list``: grouped, in each group by module."""
    modules = sorted(path.stem for path in Path(__file__).parents[1].glob("[!_]*.py"))
    named: dict[str, Command[Any]] = {}
    for module in modules:
        loaded = vars(importlib.import_module(f"ktstr.commands.{module}"))
        named.update({command.name: command for command in commands_in(loaded)})
    ordered = sorted(named.values(), key=lambda command: (GROUPS.index(command.group), not command.first))
    return {command.name: command for command in ordered}
