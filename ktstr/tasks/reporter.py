"""Progress on standard error: a live bar on a terminal, plain lines otherwise.

``NO_COLOR`` and ``TERM=dumb`` ask for plain lines on a terminal too: not one escape code.
Standard output is the report's alone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, TextIO

from ktstr.tasks.session import Outcome, Session

_WORTH_A_LINE = ("tools", "agent", "source", "kernel", "scheduler", "image")


class Progress:
    """Counts cells as they start and end, and says so. Safe from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._total, self._stream, self._started = 0, stream, time.monotonic()
        self._done = self._failed = self._fresh = 0
        self._running: set[str] = set()
        plain = os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("NO_COLOR")
        self._live = stream.isatty() and not plain
        self._lock = threading.Lock()

    def expect(self, cells: int) -> None:
        """How many cells there are."""
        self._total, self._started = cells, time.monotonic()

    def step(self, text: str) -> None:
        """Something other than a cell began: building, fetching."""
        with self._lock:
            self._line(text)

    def cell_started(self, name: str) -> None:
        with self._lock:
            self._running.add(name)
            self._bar()

    def cell_ended(self, outcome: Outcome) -> None:
        with self._lock:
            self._done += 1
            self._running.discard(outcome.name)
            self._fresh += outcome.ran
            self._failed += outcome.verdict in ("fail", "inconclusive", "error")
            if outcome.ran or outcome.verdict not in ("pass", "skip"):
                self._line(self._cell_text(outcome))
            self._bar()

    def close(self) -> None:
        with self._lock:
            self._clear()

    def _cell_text(self, outcome: Outcome) -> str:
        took = f" in {outcome.seconds:.1f} s" if outcome.ran and outcome.seconds is not None else ""
        return f"[{self._done}/{self._total}] {outcome.verdict:<12} {outcome.name}{took}"

    def _eta(self) -> str:
        if not self._fresh:
            return "--"
        per_cell = (time.monotonic() - self._started) / self._fresh
        return f"{per_cell * (self._total - self._done):.0f} s"

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, text: str) -> None:
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def _bar(self) -> None:
        if not self._live:
            return
        self._stream.write(
            f"\r\x1b[K{self._done}/{self._total} done, {len(self._running)} running, {self._failed} failed,"
            f" about {self._eta()} left"
        )
        self._stream.flush()


class Reporter:
    """doit's reporter protocol: failures go to the session, progress to standard error."""

    desc = "ktstr progress"

    def __init__(self, session: Session, progress: Progress) -> None:
        self._session, self._progress = session, progress
        self.runtime_errors: list[str] = []

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        """Nothing to prepare."""

    def get_status(self, task: Any) -> None:
        """Nothing to say before a task is decided."""

    def execute_task(self, task: Any) -> None:
        if task.actions and task.name.split(":")[0] in _WORTH_A_LINE:
            self._progress.step(f"{task.name} ...")

    def add_failure(self, task: Any, fail: Any) -> None:
        """Unexpected failures only: the families record what users can act on themselves."""
        unmet = type(fail).__name__ == "UnmetDependency"
        if task.name not in self._session.failures and not unmet and fail.report:
            self.runtime_errors.append(f"{task.name}: {fail.get_msg()}")

    def add_success(self, task: Any) -> None:
        """Cells speak for themselves when they end."""

    def skip_uptodate(self, task: Any) -> None:
        """Nothing was redone; the summary counts it."""

    def skip_ignore(self, task: Any) -> None:
        self._progress.step(f"{task.name} is ignored (doit forget {task.name} ends that)")

    def cleanup_error(self, exception: Any) -> None:
        self.runtime_errors.append(exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        self.runtime_errors.append(msg)

    def teardown_task(self, task: Any) -> None:
        """No task has a teardown."""

    def complete_run(self) -> None:
        self._progress.close()
        for text in self.runtime_errors:
            sys.stderr.write(text.rstrip() + "\n")
