"""doit's reporter protocol: failures go to the ledger, progress to standard error."""

from __future__ import annotations

import sys
from typing import Any

from ktstr.planning.steps import FAMILIES
from ktstr.progress import Progress
from ktstr.results.ledger import Ledger
from ktstr.tasks.interrupt import children_may_start


class Reporter:
    """``runtime_errors``: what went wrong that no action of ours has told the ledger."""

    desc = "ktstr progress"

    def __init__(self, ledger: Ledger, progress: Progress) -> None:
        self._ledger, self._progress = ledger, progress
        self.runtime_errors: list[str] = []

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        """Nothing to prepare."""

    def get_status(self, task: Any) -> None:
        """Nothing to say before a task is decided."""

    def execute_task(self, task: Any) -> None:
        if not task.actions:
            return
        children_may_start()
        if task.name.partition(":")[0] in FAMILIES:
            self._progress.step(f"{task.name} ...")

    def add_failure(self, task: Any, fail: Any) -> None:
        """Unexpected failures only: the families record what users can act on themselves."""
        unmet = type(fail).__name__ == "UnmetDependency"
        if task.name not in self._ledger.failures and not unmet and fail.report:
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
