"""A project of its own for each test, driven as a user drives it; the cache is shared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.programs import Guests, build_guests

ROOT = Path(__file__).parent.parent.parent
WARM_UP = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers: {{scx_ktstr: {{source: {ROOT / "schedulers" / "scx_ktstr"}}}}}
tests:
  warm: {{duration: 100ms, cgroups: [{{name: one, workers: 1}}]}}
"""
DODO = "from ktstr.tasks.graph import *  # noqa: F403\n"


@dataclass(frozen=True)
class UserProject:
    """A folder with dodo.py and ktstr.yaml, as ``ktstr init`` leaves it."""

    path: Path

    def write(self, yaml: str) -> None:
        (self.path / "ktstr.yaml").write_text(yaml, encoding="utf-8")

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "ktstr.tasks.main", *args]

    def environment(self, **extra: str) -> dict[str, str]:
        """Where ``accel=auto`` would depend on the host, it is icount."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("KTSTR_") or k == "KTSTR_CACHE_DIR"}
        return {**kept, "PYTHONPATH": str(ROOT), "KTSTR_ACCEL": "icount", **extra}

    def doit(self, *args: str, timeout: float | str = 600, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run the front end here; never raises on a non-zero code."""
        return subprocess.run(
            self.command(*args),
            cwd=self.path,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=float(timeout),
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *args: str, **extra: str) -> subprocess.Popen[str]:
        """Run the front end in the background, in a process group of its own."""
        return subprocess.Popen(
            self.command(*args),
            cwd=self.path,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )

    def test(self, *args: str, **extra: str) -> tuple[int, dict[str, Any]]:
        """``doit test ... json=1``: the exit code and the parsed object."""
        done = self.doit("test", "json=1", *args, **extra)
        assert done.stdout, done.stderr
        parsed: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, parsed

    def sidecar(self, cell: dict[str, Any]) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.path / cell["sidecar"]).read_text(encoding="utf-8"))
        return loaded


def make_project(path: Path, lock: str | None) -> UserProject:
    """An empty project at ``path``; with ``lock`` nothing is resolved anew."""
    (path / "dodo.py").write_text(DODO, encoding="utf-8")
    if lock is not None:
        (path / "ktstr.lock").write_text(lock, encoding="utf-8")
    return UserProject(path)


@pytest.fixture(scope="session")
def lock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The repository's lock, or today's when the archive has dropped a pinned package since.

    Moving suites do that within weeks; then the tests run on what a user's lock_update=all gives.
    """
    pinned = (ROOT / "ktstr.lock").read_text(encoding="utf-8")
    trial = make_project(tmp_path_factory.mktemp("lock"), pinned)
    trial.write(WARM_UP)
    done = trial.doit("image", "kernel", "tools", "test=warm", "scheduler=scx_ktstr")
    if done.returncode and "lock_update=" in done.stderr:
        done = trial.doit("image", "kernel", "tools", "test=warm", "scheduler=scx_ktstr", "lock_update=all")
    assert done.returncode == 0, done.stderr
    return (trial.path / "ktstr.lock").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, lock: str) -> UserProject:
    """An empty project whose kernel and tools are in the cache."""
    return make_project(tmp_path, lock)


@pytest.fixture(scope="session")
def guests(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Guests:
    """What runs a program of a test's own."""
    return build_guests(tmp_path_factory.mktemp("guests"), lock)


@pytest.fixture(scope="session")
def slow() -> bool:
    """Whether the full numbers are asked for (``./doit check slow=1``)."""
    return bool(os.environ.get("KTSTR_CHECK_SLOW"))
