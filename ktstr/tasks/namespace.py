"""The project's own ``dodo.py``: which of ktstr's commands it has, and its own commands and tasks."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ktstr.commands.declare.command import Command
from ktstr.commands.declare.registry import commands_in
from ktstr.config.project import Project
from ktstr.errors import InputError
from ktstr.tasks.graph import COMMAND, PREFIX


@dataclass(frozen=True)
class Namespace:
    """``commands`` are ktstr's that the file imports and its own; ``tasks`` are doit's own creators in it."""

    commands: Mapping[str, Command[Any]]
    tasks: Mapping[str, Any]
    stand: Path

    @property
    def descriptions(self) -> dict[str, str]:
        """A line for each name: the command's, or the first of the creator's docstring."""
        lines = {name: command.doc for name, command in self.commands.items()}
        for name, creator in self.tasks.items():
            lines.setdefault(name.removeprefix(PREFIX), (creator.__doc__ or "").strip().split("\n")[0])
        return lines

    def reached(self, words: Iterable[str]) -> tuple[str, ...]:
        """The tasks named by ``words``, and those that the project's own tasks among them need, in that order.

        A task of the user's own may need ``test`` or one cell: what these need is planned all the same.
        """
        needs = self._needs() if self.tasks else {}
        reached: dict[str, None] = {}
        queue = list(words)
        while queue:
            word = queue.pop(0)
            if word not in reached:
                reached[word] = None
                queue += needs.get(word, ())
        return tuple(reached)

    def _needs(self) -> dict[str, list[str]]:
        """What the project's own tasks need. Raises InputError when they cannot be made."""
        loader = doit_loader(self.stand)
        try:
            made = loader.load_tasks(dict(self.tasks), allow_delayed=True)
        except Exception as err:
            if os.environ.get("KTSTR_DEBUG"):
                raise
            raise InputError(f"dodo.py: {type(err).__name__}: {err}", fix="correct that file") from None
        own = [task.name for task in made]
        return {
            task.name: [*task.task_dep, *task.setup_tasks, *task.calc_dep, *self._matched(task.wild_dep, own)]
            for task in made
        }

    def _matched(self, patterns: Iterable[str], own: Iterable[str]) -> Iterator[str]:
        """The project's own tasks that a ``task_dep`` with ``*`` means, and the families of ktstr's that it looks
        into: which cells these have is not known yet."""
        for pattern in patterns:
            yield from (name for name in own if fnmatchcase(name, pattern))
            yield from (name for name in self.commands if fnmatchcase(name, pattern.partition(":")[0]))


def load_namespace(project: Project) -> Namespace:
    """What the project's ``dodo.py`` binds, imported as doit would: from its folder, which it stands in.

    doit's own loader would cost ``doit list`` all of doit. Raises InputError when the file cannot be read.
    """
    try:
        os.chdir(project.root)
        sys.path.insert(0, str(project.root))
        values = dict(vars(importlib.import_module(project.dodo.stem)))
    except Exception as err:
        if os.environ.get("KTSTR_DEBUG"):
            raise
        raise InputError(f"{project.dodo}: {type(err).__name__}: {err}", fix="correct that file") from None
    commands: dict[str, Command[Any]] = {}
    tasks = {}
    for name, value in values.items():
        command = getattr(value, COMMAND, None)
        if isinstance(command, Command):
            commands[command.name] = command
        elif name.startswith(PREFIX) and callable(value):
            tasks[name] = value
    commands.update({command.name: command for command in commands_in(values)})
    return Namespace(commands, tasks, project.stand)


def doit_loader(stand: Path) -> Any:
    """doit's loader, which tells the project's own tasks where the user stood (``doit.get_initial_workdir``)."""
    from doit import loader  # type: ignore[import-untyped]

    loader.initial_workdir = str(stand)
    return loader
