"""What several end-to-end tests share: the smallest cells there are, and finding every process of a run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ktstr.host.cache import cache_root
from tests.e2e.conftest import UserProject

MARK = "E2E_RUN"  # in the environment of a run, and so in that of everything it starts

# One vCPU and two spinners: about 3.5 s of one core for a cell.
TINY_YAML = """\
kernels:
  default: deb:forky/cloud-amd64
presets:
  one: 1n1l1c1t
tests:
  pair:
    duration: 300ms
    cgroups:
      - {name: left, workers: 1}
      - {name: right, workers: 1}
matrices:
  all: {tests: pair, presets: one, seeds: SEEDS}
"""


def tiny_yaml(cells: int) -> str:
    """A ktstr.yaml of so many cells, which differ in their seed."""
    return TINY_YAML.replace("SEEDS", f"1..{cells}")


def processes(mark: str) -> dict[int, str]:
    """Command lines of all live processes whose environment has ``MARK=mark``, by pid.

    Sessions, groups and parents do not matter: a process cannot leave its environment behind
    without an exec that drops it, and nothing here does.
    """
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended meanwhile
    return found


def emulators(mark: str) -> dict[int, str]:
    """Those of them that are emulators."""
    return {pid: line for pid, line in processes(mark).items() if "qemu-system" in line}


def gone_within(mark: str, seconds: float) -> dict[int, str]:
    """What is still there after at most ``seconds``: empty when all have ended. Time in which this loop did not get to
    run either, as the whole host stood still, counts little."""
    spent, last = 0.0, time.monotonic()
    while (left := processes(mark)) and spent < seconds:
        time.sleep(0.05)
        now = time.monotonic()
        spent, last = spent + min(now - last, 0.3), now
    return left


def half_written(project: UserProject) -> list[str]:
    """Staging files and folders anywhere below ``target``, and stored cells without a record."""
    target = project.path / "target"
    odd = [p for p in target.rglob("*") if ".tmp" in p.name or p.name.startswith((".run-", ".old-"))]
    cells = target / "ktstr" / ".cells"
    odd += [p for p in cells.glob("*") if not p.name.startswith(".") and not (p / "record.json").is_file()]
    return sorted(str(p.relative_to(target)) for p in odd)


def private_cache(folder: Path, *shared: str) -> Path:
    """A cache of a test's own, in which these kinds of entries are those of the real one."""
    folder.mkdir(parents=True)
    for kind in shared:
        (folder / kind).symlink_to(cache_root(os.environ) / kind)
    return folder
