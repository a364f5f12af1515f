"""doit's reporter protocol: failures go to the session, progress to standard error."""

from __future__ import annotations

import sys
from typing import Any

from ktstr.progress import Progress
from ktstr.tasks.session import Session

_WORTH_A_LINE = ("tools", "vmm", "agent", "source", "kernel", "scheduler", "image")


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
