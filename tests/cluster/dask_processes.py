"""A Dask scheduler and workers as processes of their own, as users start them, on 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_S = 60.0


@dataclass
class DaskProcesses:
    """``folder``: for scratch and logs. ``workers`` by name."""

    folder: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of the scheduler. Waits for it."""
        began = time.monotonic()
        while time.monotonic() - began < START_S:
            try:
                return str(json.loads(self._file.read_text())["address"])
            except (OSError, ValueError):
                time.sleep(0.05)
        raise TimeoutError("the scheduler did not start")

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    def start_scheduler(self, pythonpath: Path = ROOT) -> None:
        """``dask scheduler``, which finds its modules there first."""
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self._file))
        self.scheduler = self._start("scheduler", options, {"PYTHONPATH": str(pythonpath)})

    def start_worker(self, name: str, environ: Mapping[str, str], pythonpath: Path = ROOT) -> None:
        """``dask worker`` with one process."""
        options = (
            "--scheduler-file", str(self._file), "--name", name, "--no-nanny", "--no-dashboard", "--memory-limit", "0",
            "--local-directory", str(self.folder / "scratch"),
        )  # fmt: skip
        self.workers[name] = self._start("worker", options, {**environ, "PYTHONPATH": str(pythonpath)}, name)

    def await_workers(self) -> None:
        """Until all that were started are known to the scheduler."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), START_S)

    def _start(
        self, kind: str, options: tuple[str, ...], environ: Mapping[str, str], name: str = "scheduler"
    ) -> subprocess.Popen[bytes]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("KTSTR_", "DASK_"))}
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", kind, *options], cwd=self.folder, env={**kept, **environ},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """All of them."""
        for process in (*self.workers.values(), *([self.scheduler] if self.scheduler else [])):
            process.kill()
            process.wait()


@contextmanager
def dask_processes(folder: Path) -> Iterator[DaskProcesses]:
    """None yet; whatever is started is killed afterwards."""
    processes = DaskProcesses(folder)
    try:
        yield processes
    finally:
        processes.kill()


def without_ktstr(folder: Path) -> Path:
    """A place for ``PYTHONPATH`` where importing ktstr fails as where it is not installed."""
    package = folder / "without" / "ktstr"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'ktstr'\", name='ktstr')\n")
    return package.parent


def another_ktstr(folder: Path) -> Path:
    """A place for ``PYTHONPATH`` with a ktstr of other sources."""
    place = folder / "another"
    shutil.copytree(ROOT / "ktstr", place / "ktstr", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("vmm_c", "schemas", "schedulers", "kconfig"):
        (place / name).symlink_to(ROOT / name)
    with (place / "ktstr" / "cpulist.py").open("a") as file:
        file.write("# another\n")
    return place
