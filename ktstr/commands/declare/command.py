"""How a command is declared: its name, its variables, whether it plans, and what it does.

A module of ``ktstr.commands`` binds ``COMMAND``, or ``COMMANDS`` where one idea has several names; a project's own
``dodo.py`` may bind more. What it imports at the top is paid for by ``doit list``: it is to be light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from ktstr.cancel import Cancel
from ktstr.config.project import Project
from ktstr.progress import Progress
from ktstr.results.ledger import ExitRules, Ledger

if TYPE_CHECKING:
    from ktstr.cells.cells import Cells
    from ktstr.cells.remembered import Remembered
    from ktstr.cluster.session import Cluster
    from ktstr.planning.plan import Plan
    from ktstr.planning.points import CellPlan
    from ktstr.results.view import Epoch

Opts = TypeVar("Opts")


@dataclass(frozen=True)
class Invocation:
    """One command line, as its commands see it. ``words`` are its tasks, those that its own tasks need included.

    ``held``: what is closed when everything has run and was reported; ``clusters``: those that are connected to until
    then, by address.
    """

    project: Project
    environ: Mapping[str, str]
    words: tuple[str, ...]
    progress: Progress
    cancel: Cancel
    ledger: Ledger
    epoch: Epoch
    held: ExitStack = field(default_factory=ExitStack)
    clusters: dict[str, Cluster] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a command has to say on standard output, and the code that it alone would exit with."""

    text: str = ""
    code: int = 0


@dataclass(frozen=True)
class Turn:
    """A cell that may run, and the plan that it is of. ``rival``: the one that it takes turns with: what that one needs
    is made first too, so that both run under the same conditions."""

    planned: Planned
    cell: CellPlan
    rival: Turn | None = None


@dataclass(frozen=True)
class Planned:
    """A plan, its cells, and what earlier runs left of them.

    ``order``: the cells of this plan and of others whose steps are in it, as they are to run; None for its own, those
    of one machine together.
    """

    plan: Plan
    cells: Cells
    remembered: Remembered
    order: tuple[Turn, ...] | None = None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Every cell, in the order in which they are to run."""
        return tuple(Turn(self, cell) for cell in self.plan.by_machine) if self.order is None else self.order


@dataclass(frozen=True)
class Command(Generic[Opts]):
    """One command. ``group`` is its heading in ``doit list``.

    ``run``: what a report does, as a task of the graph. ``plan``: makes the plan whose steps and cells are the
    graph, or gives None where ``run`` is to do it without one; ``preview``: what is printed in place of running it,
    None to run it; ``finish``: the report after everything ran. ``parts``: which of the plan's are tasks of its own;
    ``needs``: the tasks it stands for instead. ``judges``: it runs cells. ``alone``: no other task may be named beside
    it; ``first``: it heads its group, and leads whatever is named beside it.
    """

    name: str
    group: str
    doc: str
    options: type[Opts]
    run: Callable[[Invocation, Opts], Report] | None = None
    plan: Callable[[Invocation, Opts], Planned | None] | None = None
    preview: Callable[[Invocation, Opts, Planned], str | None] | None = None
    finish: Callable[[Invocation, Opts, Planned], Report] | None = None
    rules: Callable[[Opts], ExitRules] | None = None
    parts: Literal["steps", "machines", "cells"] | None = None
    needs: Callable[[Planned], Iterable[str]] | None = None
    judges: bool = False
    alone: bool = False
    first: bool = False
