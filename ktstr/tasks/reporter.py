"""Progress on standard error: a live bar on a terminal, plain lines otherwise.

``NO_COLOR`` and ``TERM=dumb`` ask for plain lines on a terminal too: not one escape code.
Standard output is the report's alone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from ktstr.tasks.session import Outcome, Session

if TYPE_CHECKING:
    from ktstr.kernels.make import Progress as MakeProgress

_LIVE_S, _PLAIN_S = 0.2, 15.0  # how often a long step says how far it is
_WORTH_A_LINE = ("tools", "vmm", "agent", "source", "kernel", "scheduler", "image")


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

    def fetching(self, what: str) -> Callable[[str, int, int | None], None]:
        """Told a step, its bytes done and, if known, in all, says so now and then."""
        paced = self._paced()

        def on_bytes(step: str, done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            paced(f"{what}: {step} {done / 1e6:.1f}{of} MB")

        return on_bytes

    def building(self, what: str) -> Callable[[MakeProgress], None]:
        """Told how far make is, says so now and then."""
        paced = self._paced()

        def on_step(progress: MakeProgress) -> None:
            paced(f"{what}: {_steps(progress)}")

        return on_step

    def _paced(self) -> Callable[[str], None]:
        last = time.monotonic()

        def say(text: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < (_LIVE_S if self._live else _PLAIN_S):
                return
            last = now
            with self._lock:
                if self._live:
                    self._stream.write(f"\r\x1b[K{text[:100]}")
                    self._stream.flush()
                else:
                    self._line(text)

        return say

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


def _steps(progress: MakeProgress) -> str:
    """``412 of about 1700 files, 2 min left: kernel/sched/core.o``."""
    of = f" of about {progress.total}" if progress.total else ""
    eta = progress.eta_s
    left = "" if eta is None else f", {eta / 60:.0f} min left" if eta >= 90 else f", {eta:.0f} s left"
    return f"{progress.done}{of} files{left}: {progress.last}"


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
