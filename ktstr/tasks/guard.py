"""Running one task's action: expected errors go to the session, never to a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doit.exceptions import TaskFailed  # type: ignore[import-untyped]

from ktstr.errors import HostError, KtstrError
from ktstr.files import full_or_denied
from ktstr.tasks.session import Session


def perform(run: Session, task: str, action: Callable[[], None]) -> Any:
    """Do it. Gives True, or doit's TaskFailed after telling the session why."""
    if run.cancel.is_set():
        return TaskFailed("interrupted", report=False)
    try:
        action()
    except KtstrError as err:
        if not run.cancel.is_set():
            run.fail(task, err)
        return TaskFailed(str(err), report=False)
    except OSError as err:
        found = full_or_denied(err, Path(err.filename or run.project.runs_root))
        run.fail(task, found)
        return TaskFailed(str(found), report=False)
    except Exception as err:
        if os.environ.get("KTSTR_DEBUG"):
            raise
        run.fail(task, HostError(f"internal error: {type(err).__name__}: {err}", fix="KTSTR_DEBUG=1 shows where"))
        return TaskFailed(str(err), report=False)
    return True
