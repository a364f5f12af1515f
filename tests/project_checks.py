"""This repository's own checks, as one task: ``./doit check [slow=1]``."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_OK, EXIT_VERDICT
from ktstr.options import FLAG, variable

ROOT = Path(__file__).parent.parent
# Most tests wait for a guest, which takes one CPU. The tests of a file stay together: what its fixtures make is
# costly, and theirs alone.
_SHARED = ("-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile", "--no-loadscope-reorder")
PYTHON_SOURCES = ("ktstr", "tests", "benchmarks", "dodo.py")


@dataclass(frozen=True)
class Options:
    """How much is checked."""

    slow: bool = variable(FLAG, "add the long sweeps", False)


@dataclass(frozen=True)
class Checks:
    """Command lines of what has to pass.

    ``lab``: what runs in it takes the time of its host, but leaves half of two CPUs idle, which those in ``beside``
    get: cheapest first, and of the tests those that boot nothing, or compile for longer. ``last``: its closing line
    ends the output.
    """

    first: Sequence[str]
    lab: Sequence[str]
    beside: Sequence[Sequence[str]]
    last: Sequence[str]


def checks(slow: bool) -> Checks:
    """What has to pass."""
    python = sys.executable

    def tests(marks: str, *words: str) -> list[str]:
        return [python, "-m", "pytest", *(["-m", marks] if marks else ()), *words]

    quick = "" if slow else "not slow and "
    return Checks(
        # Once: where PYTHONDONTWRITEBYTECODE is set, each of hundreds of front ends would compile it all for itself.
        first=[python, "-m", "compileall", "-q", "ktstr", "tests"],
        lab=tests("" if slow else "not slow", "tests/nested"),
        beside=[
            [python, "-m", "ruff", "check", *PYTHON_SOURCES],
            [python, "-m", "ruff", "format", "--check", *PYTHON_SOURCES],
            [str(Path(python).with_name("lint-imports")), "--no-logo"],
            [python, "-m", "mypy", "--strict", "ktstr", "tests", "benchmarks"],
            tests(f"{quick}(not e2e or compiles)", *_SHARED, "--ignore=tests/nested", "tests"),
        ],
        last=tests(f"{quick}e2e and not compiles", *_SHARED, "--ignore=tests/nested", "tests"),
    )


def _run(invocation: Invocation, options: Options) -> Report:
    env = {**invocation.environ, "KTSTR_CHECK_SLOW": "1" if options.slow else ""}
    todo = checks(options.slow)
    failed = _failures([todo.first], env, invocation.cancel)
    with ExitStack() as stack:
        output = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
        lab = stack.enter_context(subprocess.Popen(todo.lab, cwd=ROOT, env=env, stdout=output, stderr=output))
        stack.callback(lab.terminate)
        failed += _failures(todo.beside, env, invocation.cancel, ("nice", "-n", "15"))
        code = lab.wait()
        output.seek(0)
        _say(f"$ {shlex.join(todo.lab[1:])}\n{output.read()}")
    failed += ["the lab"] if code else []
    failed += _failures([todo.last], env, invocation.cancel)
    if failed:
        sys.stderr.write(f"check: failed: {', '.join(failed)}\n")
    return Report(code=EXIT_VERDICT if failed else EXIT_OK)


def _failures(
    commands: Sequence[Sequence[str]], env: Mapping[str, str], cancel: Cancel, prefix: Sequence[str] = ()
) -> list[str]:
    """The names of those that did not pass, all of which run, one after the other."""
    failed = []
    for command in commands:
        cancel.check()
        _say(f"$ {shlex.join(command[1:])}\n")
        if subprocess.run([*prefix, *command], cwd=ROOT, env=env, check=False).returncode:
            failed.append(Path(command[0]).name if command[1] != "-m" else command[2])
    return failed


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


CHECK = Command("check", "Project", "pass the project's own tests (slow=1 adds the sweeps)", Options, _run)
