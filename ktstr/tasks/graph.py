"""The task families: kernels, tools, binaries, images, cells and reports as a doit graph.

A ``dodo.py`` imports everything here: one ``task_NAME`` for each command, empty until the front end has planned and
binds them to what it planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ktstr.commands.declare.command import Command, Invocation, Planned, Turn
from ktstr.commands.declare.registry import builtin_commands
from ktstr.errors import InputError

PREFIX = "task_"
COMMAND = "ktstr_command"  # a creator's attribute: which command it stands for

Task = dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """What the tasks of one invocation are made from. ``options`` are those of each command that was named.

    ``judges``: cells are run, and not only what they are made of. ``say``: takes a report's text.
    """

    invocation: Invocation
    options: Mapping[str, Any]
    planned: Planned | None
    judges: bool
    say: Callable[[str], None]


def creators(graph: Graph, commands: Sequence[Command[Any]]) -> dict[str, Callable[[], Any]]:
    """doit's task creators for these commands."""
    return {f"{PREFIX}{command.name}": _creator(graph, command) for command in commands}


def _creator(graph: Graph, command: Command[Any]) -> Callable[[], Iterator[Task]]:
    def creator() -> Iterator[Task]:  # doit takes functions only
        return _tasks(graph, command)

    return creator


def _tasks(graph: Graph, command: Command[Any]) -> Iterator[Task]:
    if command.parts == "steps":
        yield from _steps(graph, command)
    elif command.parts == "machines":
        yield from _machines(graph, command)
    elif command.parts == "cells":
        yield from _cells(graph, command)
    elif command.run is not None and (command.plan is None or graph.planned is None):
        yield _report(graph, command)
    else:
        needs = command.needs(graph.planned) if graph.planned and command.needs else ()
        yield {"basename": command.name, "actions": None, "task_dep": list(needs), "doc": command.doc}


def _group(command: Command[Any]) -> Task:
    """The family itself, with its line for ``doit list``."""
    return {"basename": command.name, "name": None, "doc": command.doc}


def _guarded(graph: Graph, task: str, action: Callable[[], object]) -> Callable[[], Any]:
    """An action whose expected errors reach the ledger and stop what depends on it."""

    def act() -> Any:
        from ktstr.tasks.action import perform

        return perform(graph.invocation, task, action)

    return act


def _steps(graph: Graph, command: Command[Any]) -> Iterator[Task]:
    """A task for each of the plan's build steps."""
    steps = graph.planned.plan.steps[command.name] if graph.planned else ()
    if not any(step.name == "" for step in steps):
        yield _group(command)
    for step in steps:
        task: Task = {
            "basename": command.name,
            "actions": [_guarded(graph, step.task, step.make)],
            "targets": [str(step.target)],
            "task_dep": list(step.needs),
            "uptodate": [step.is_fresh],
            "io": {"capture": False},
            "doc": command.doc,
        }
        yield task | {"name": step.name} if step.name else task


def _machines(graph: Graph, command: Command[Any]) -> Iterator[Task]:
    """A task for each machine that cells are clones of: those of cells that run, or all where they are asked for."""
    yield _group(command)
    if graph.planned is None or not _parks(graph):
        return
    known: set[str] = set()
    for turn in graph.planned.turns:
        cell, cells = turn.cell, turn.planned.cells
        parked = None if graph.judges and cells.stands(cell) else turn.planned.plan.parked(cell)
        if parked is None or parked.key in known:
            continue
        known.add(parked.key)
        yield {
            "basename": command.name,
            "name": parked.task.partition(":")[2],
            "actions": [_guarded(graph, parked.task, partial(cells.park, cell))],
            "targets": [str(cells.snapshot_of(parked))],
            "task_dep": list(cell.point.needs),
            "uptodate": [partial(cells.is_parked, parked)],
            "io": {"capture": False},
        }


def _parks(graph: Graph) -> bool:
    """Whether machines are wanted: by cells that are run here, or by name."""
    here = graph.planned is not None and graph.planned.cells.parks
    return (graph.judges and here) or any(word.partition(":")[0] == "machine" for word in graph.invocation.words)


def _cells(graph: Graph, command: Command[Any]) -> Iterator[Task]:
    """A task for each cell; one that an earlier run left nothing to do for needs nothing built either."""
    yield _group(command)
    if graph.planned is None:
        return
    for turn in graph.planned.turns:
        cell, cells = turn.cell, turn.planned.cells
        stands = graph.judges and cells.stands(cell)
        yield {
            "basename": command.name,
            "name": cell.name,
            "actions": [_guarded(graph, f"cell:{cell.name}", partial(cells.run, cell))],
            "task_dep": [] if stands else [*_needs(graph, turn), *(_needs(graph, turn.rival) if turn.rival else ())],
            "uptodate": [stands],
            "io": {"capture": False},
        }


def _needs(graph: Graph, turn: Turn) -> Iterator[str]:
    """The tasks that make what a cell runs on; none for one that has nothing to do."""
    if graph.judges and turn.planned.cells.stands(turn.cell):
        return
    yield from turn.cell.point.needs
    parked = turn.planned.plan.parked(turn.cell) if graph.judges and turn.planned.cells.parks else None
    if parked is not None:
        yield parked.task


def _report(graph: Graph, command: Command[Any]) -> Task:
    """A cheap task that always runs and whose text is written once, by the front end."""

    def act() -> None:
        assert command.run is not None
        report = command.run(graph.invocation, graph.options[command.name])
        graph.say(report.text)
        graph.invocation.ledger.note(report.code)

    actions = [_guarded(graph, command.name, act)]
    return {"basename": command.name, "actions": actions, "io": {"capture": False}, "doc": command.doc}


def _standing_in(command: Command[Any]) -> Callable[[], Any]:
    """A creator that only says which command it stands for."""

    def creator() -> Any:
        raise InputError(f"{command.name}: ktstr's tasks are run by its front end: doit, ./doit or ktstr")

    creator.__doc__ = command.doc
    setattr(creator, COMMAND, command)
    return creator


globals().update({f"{PREFIX}{name}": _standing_in(command) for name, command in builtin_commands().items()})
__all__ = [f"{PREFIX}{name}" for name in builtin_commands()]  # pyright: ignore
