"""This repository's own checks, as one task: ``./doit check [slow=1]``."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_OK, EXIT_VERDICT
from ktstr.options import FLAG, variable

ROOT = Path(__file__).parent.parent
# Most tests wait for a guest, which takes one CPU. The lab takes two, and what runs in it the time of its host. The
# tests of a file stay together: what its fixtures make is costly, and theirs alone.
_SHARED = ("-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile", "--no-loadscope-reorder")
PYTHON_SOURCES = ("ktstr", "tests", "benchmarks", "dodo.py")


@dataclass(frozen=True)
class Options:
    """How much is checked."""

    slow: bool = variable(FLAG, "add the long sweeps", False)


def commands(slow: bool) -> list[list[str]]:
    """What has to pass, cheapest first. pytest comes last: its closing line ends the output."""
    python = sys.executable
    marks = [] if slow else ["-m", "not slow"]
    return [
        # Once: where PYTHONDONTWRITEBYTECODE is set, each of hundreds of front ends would compile it all for itself.
        [python, "-m", "compileall", "-q", "ktstr", "tests"],
        [python, "-m", "ruff", "check", *PYTHON_SOURCES],
        [python, "-m", "ruff", "format", "--check", *PYTHON_SOURCES],
        [python, "-m", "mypy", "--strict", "ktstr", "tests", "benchmarks"],
        [str(Path(python).with_name("lint-imports")), "--no-logo"],
        [python, "-m", "pytest", *marks, "tests/nested"],
        [python, "-m", "pytest", *marks, *_SHARED, "--ignore=tests/nested", "tests"],
    ]


def _run(invocation: Invocation, options: Options) -> Report:
    env = {**invocation.environ, "KTSTR_CHECK_SLOW": "1" if options.slow else ""}
    failed = []
    for command in commands(options.slow):
        invocation.cancel.check()
        sys.stdout.write(f"$ {' '.join(command[1:])}\n")
        sys.stdout.flush()
        if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
            failed.append(Path(command[0]).name if command[1] != "-m" else command[2])
    if failed:
        sys.stderr.write(f"check: failed: {', '.join(failed)}\n")
    return Report(code=EXIT_VERDICT if failed else EXIT_OK)


CHECK = Command("check", "Project", "pass the project's own tests (slow=1 adds the sweeps)", Options, _run)
