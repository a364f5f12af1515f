"""How a command is declared: its name, its variables, whether it plans, and what it does.

A module of ``ktstr.commands`` binds ``COMMAND``, or ``COMMANDS`` where one idea has several names; a project's own
``dodo.py`` may bind more. What it imports at the top is paid for by ``doit list``: it is to be light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ktstr.cancel import Cancel
from ktstr.config.project import Project
from ktstr.progress import Progress
from ktstr.results.ledger import ExitRules, Ledger

if TYPE_CHECKING:
    from ktstr.cells.cells import Cells
    from ktstr.cells.remembered import Remembered
    from ktstr.planning.plan import Plan
    from ktstr.results.view import Epoch

Opts = TypeVar("Opts")


@dataclass(frozen=True)
class Invocation:
    """One command line, as its commands see it. ``words`` are its tasks, those that its own tasks need included."""

    project: Project
    environ: Mapping[str, str]
    words: tuple[str, ...]
    progress: Progress
    cancel: Cancel
    ledger: Ledger
    epoch: Epoch


@dataclass(frozen=True)
class Report:
    """What a command has to say on standard output, and the code that it alone would exit with."""

    text: str = ""
    code: int = 0


@dataclass(frozen=True)
class Planned:
    """A plan, its cells, and what earlier runs left of them."""

    plan: Plan
    cells: Cells
    remembered: Remembered


def _no_rules(options: Any) -> ExitRules:
    return ExitRules()


@dataclass(frozen=True)
class Command(Generic[Opts]):
    """One command. ``group`` is its heading in ``doit list``.

    ``run``: what a report does, as a task of the graph. ``plan``: makes the plan whose steps and cells are the
    graph; ``preview``: what is printed in place of running it, None to run it; ``finish``: the report after
    everything ran. ``parts``: which of the plan's are tasks of its own; ``needs``: the tasks it stands for instead.
    ``judges``: it runs cells. ``alone``: no other task may be named beside it;
    ``first``: it heads its group, and leads whatever is named beside it.
    """

    name: str
    group: str
    doc: str
    options: type[Opts]
    run: Callable[[Invocation, Opts], Report] | None = None
    plan: Callable[[Invocation, Opts], Planned] | None = None
    preview: Callable[[Invocation, Opts, Planned], str | None] | None = None
    finish: Callable[[Invocation, Opts, Planned], Report] | None = None
    rules: Callable[[Opts], ExitRules] = _no_rules
    parts: Literal["steps", "machines", "cells"] | None = None
    needs: Callable[[Plan], Iterable[str]] | None = None
    judges: bool = False
    alone: bool = False
    first: bool = False
