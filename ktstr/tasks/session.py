"""One invocation: what was asked, what is planned, what came of it.

The task families read the running session from a context variable, so that ``dodo.py``
needs no argument and two sessions in one process do not mix.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ktstr.cancel import Cancel
from ktstr.cells.tokens import TokenPool
from ktstr.commands.variables import Value
from ktstr.config.project import Project
from ktstr.errors import KtstrError
from ktstr.progress import CellEnd, Progress

if TYPE_CHECKING:
    from ktstr.cells.remembered import Remembered
    from ktstr.planning.plan import Plan
    from ktstr.results.view import Epoch, Standing


@dataclass(frozen=True)
class Outcome:
    """What came of one planned cell. ``ran`` is False when a stored result was good.

    ``lasting``: the same inputs need not run again. ``standing`` takes the place of ``sidecar`` when the
    published one is as it was left.
    """

    name: str
    verdict: str
    reasons: tuple[str, ...]
    ran: bool
    seconds: float | None
    sidecar: dict[str, Any] | None = None
    path: str | None = None
    files: tuple[str, ...] = ()
    exit_code: int = 0
    lasting: bool = False
    standing: Standing | None = None

    @property
    def failed(self) -> bool:
        return self.verdict in ("fail", "inconclusive", "error")

    def end(self) -> CellEnd:
        """What progress says of it."""
        return CellEnd(self.name, self.verdict, self.failed, self.ran, self.seconds)


@dataclass
class Session:
    """The state of one run. ``cancel`` ends running cells; ``signal`` says why."""

    project: Project
    words: tuple[str, ...]
    values: dict[str, Value]
    environ: dict[str, str]
    progress: Progress
    tokens: TokenPool
    epoch: Epoch
    plan: Plan | None = None
    cancel: Cancel = field(default_factory=Cancel)
    signal: int = 0
    signalled: float = 0.0
    accel_reason: str | None = None  # why accel=auto chose its machine
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, KtstrError] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _commit: list[str | None] = field(default_factory=list)
    _remembered: list[Remembered] = field(default_factory=list)

    def commit(self) -> str | None:
        """The project's commit, asked once."""
        from ktstr.results.commit import project_commit

        with self._lock:
            if not self._commit:
                self._commit.append(project_commit(self.project.root, self.environ))
            return self._commit[0]

    def remembered(self) -> Remembered:
        """What earlier runs judged, read once."""
        from ktstr.cells.remembered import Remembered

        if not self._remembered:
            self._remembered.append(Remembered(self))
        return self._remembered[0]

    def flag(self, name: str) -> bool:
        return bool(self.values.get(name))

    def words_of(self, name: str) -> tuple[str, ...]:
        """A list variable's items."""
        value = self.values.get(name)
        return tuple(str(item) for item in value) if isinstance(value, tuple) else ()

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def record(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes[outcome.name] = outcome

    def fail(self, task: str, error: KtstrError) -> None:
        """A task that is not a cell could not be done."""
        with self._lock:
            self.failures[task] = error

    def failed_cells(self) -> int:
        with self._lock:
            return sum(o.failed for o in self.outcomes.values())


current: ContextVar[Session | None] = ContextVar("ktstr_session", default=None)


def session() -> Session:
    """The running session; only the front end makes one."""
    found = current.get()
    if found is None:
        raise RuntimeError("ktstr's tasks are run by its front end: doit, ./doit or ktstr")
    return found
