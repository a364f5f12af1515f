"""A throwaway project, and runs of the front end in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent


@contextmanager
def project(declaration: str) -> Iterator[Path]:
    """A folder with this ktstr.yaml and the repository's pins."""
    with TemporaryDirectory(prefix="ktstr-bench-") as name:
        folder = Path(name)
        (folder / "dodo.py").write_text("from ktstr.tasks.graph import *  # noqa: F403\n", encoding="utf-8")
        (folder / "ktstr.yaml").write_text(declaration, encoding="utf-8")
        shutil.copy(ROOT / "ktstr.lock", folder)
        yield folder


def environment(folder: Path) -> dict[str, str]:
    """Ours, with this checkout importable and compiled modules kept, as where ktstr is installed."""
    ours = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / ".pycache")}
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, **ours}


def python(folder: Path, arguments: Sequence[str], enter: Sequence[str] = ()) -> str:
    """Run this Python in ``folder``, as the end of the command ``enter``; its standard output. Raises RuntimeError with
    what it said."""
    command = [*enter, sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def front_end(folder: Path, *arguments: str, enter: Sequence[str] = ()) -> str:
    """``doit ARGUMENTS`` there."""
    return python(folder, ("-m", "ktstr.tasks.main", *arguments), enter)
