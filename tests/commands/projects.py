"""Projects in which commands that boot nothing are run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CommandProject:
    """A folder with the smallest project in it."""

    path: Path

    @property
    def runs(self) -> Path:
        """Its folder of run directories."""
        return self.path / "target" / "ktstr"

    def doit(self, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The front end with these arguments, from the project's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KTSTR_")}
        return subprocess.run(
            [sys.executable, "-m", "ktstr.tasks.main", *args], cwd=self.path, stdin=subprocess.DEVNULL,
            env={**kept, "PYTHONPATH": str(ROOT), **environ}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


def command_project(path: Path) -> CommandProject:
    """Make it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "dodo.py").write_text("from ktstr.tasks.graph import *  # noqa: F403\n")
    (path / "ktstr.yaml").write_text("tests: {t: {duration: 1s, cgroups: [{name: a, workers: 1}]}}\n")
    return CommandProject(path)
