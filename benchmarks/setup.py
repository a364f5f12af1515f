"""What a newcomer waits for: set-up, the first test, the second one. No peer; for the record only.

Works on a clone with a cache of its own, so everything is fetched again: minutes, and some 200 MB.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.project import ROOT
from benchmarks.table import Row


def _timed(clone: Path, cache: Path, *arguments: str) -> float:
    began = time.monotonic()
    env = {**os.environ, "KTSTR_CACHE_DIR": str(cache)}
    subprocess.run(["./doit", *arguments], cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def rows() -> list[Row]:
    """Seconds of the first commands in a fresh clone."""
    with TemporaryDirectory(prefix="ktstr-bench-") as name:
        clone, cache = Path(name) / "clone", Path(name) / "cache"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        one = ("test", "test=pipe_wake", "preset=tiny-1llc", "scheduler=eevdf")
        steps = [
            ("set-up of a fresh clone (doit list)", ("list",)),
            ("first test: kernel, tools, agent, one cell", one),
            ("the same again: nothing to do", one),
            ("all declared cells", ("test",)),
        ]
        return [Row(what, _timed(clone, cache, *words), "s") for what, words in steps]
