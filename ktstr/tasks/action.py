"""Running one task's action: expected errors go to the ledger, never to a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from doit.exceptions import TaskFailed  # type: ignore[import-untyped]

from ktstr.commands.declare.command import Invocation
from ktstr.errors import HostError, KtstrError
from ktstr.files import refused


def perform(run: Invocation, task: str, action: Callable[[], object]) -> Any:
    """Do it. Gives True, or doit's TaskFailed after telling the ledger why; cancelled work is no failure."""
    if run.cancel.is_set():
        return TaskFailed("interrupted", report=False)
    error = _error_of(run, action)
    if error is None:
        return True
    if not run.cancel.is_set():
        run.ledger.fail(task, error)
    return TaskFailed(str(error), report=False)


def _error_of(run: Invocation, action: Callable[[], object]) -> KtstrError | None:
    """What went wrong, as the user should see it; None when nothing did."""
    try:
        action()
    except KtstrError as err:
        return err
    except OSError as err:
        return refused(err, run.project.runs_root, "KTSTR_RUNS_ROOT")
    except Exception as err:
        if os.environ.get("KTSTR_DEBUG"):
            raise
        return HostError(f"internal error: {type(err).__name__}: {err}", fix="KTSTR_DEBUG=1 shows where")
    return None
