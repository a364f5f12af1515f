"""This repository's own checks, as one task: ``./doit check [slow=1]``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ktstr.tasks.session import Session, session

ROOT = Path(__file__).parent.parent
PYTHON_SOURCES = ("ktstr", "tests", "benchmarks", "dodo.py")


def commands(slow: bool) -> list[list[str]]:
    """What has to pass, cheapest first. pytest comes last: its closing line ends the output."""
    python = sys.executable
    marks = [] if slow else ["-m", "not slow"]
    return [
        [python, "-m", "ruff", "check", *PYTHON_SOURCES],
        [python, "-m", "ruff", "format", "--check", *PYTHON_SOURCES],
        [python, "-m", "mypy", "--strict", "ktstr", "tests", "benchmarks"],
        [python, "-m", "pytest", *marks, "tests"],
    ]


def _run(run: Session) -> bool:
    env = {**os.environ, "KTSTR_CHECK_SLOW": "1" if run.flag("slow") else ""}
    failed = []
    for command in commands(run.flag("slow")):
        sys.stdout.write(f"$ {' '.join(command[1:])}\n")
        sys.stdout.flush()
        if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
            failed.append(command[2])
    if failed:
        run.exit_codes.append(1)
        sys.stderr.write(f"check: failed: {', '.join(failed)}\n")
    return True


def task_check() -> dict[str, Any]:
    """pass the project's own tests (slow=1 adds the sweeps)"""
    run = session()
    return {"actions": [(_run, [run])], "io": {"capture": False}, "verbosity": 2}
