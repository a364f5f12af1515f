"""How much of this host the process may use: its CPUs and memory, as affinity and cgroups limit them.

Kernel facts: Documentation/admin-guide/cgroup-v2.rst (cpu.max, memory.max, memory.high), cgroup-v1/memory.rst
(memory.limit_in_bytes), scheduler/sched-bwc.rst (cpu.cfs_quota_us, cpu.cfs_period_us), cgroup_namespaces(7).
A limit holds for all groups below it, so each from the process's own group up to the top of what is mounted counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ktstr.host.cpu_topology import allowed_cpus
from ktstr.host.mounts import Mount, read_mounts

_MEMORY = ("memory.max", "memory.high", "memory.limit_in_bytes")  # beyond high it is not killed but stands still


@dataclass(frozen=True)
class Usable:
    """What may be used: whole CPUs, at least one, and memory in MiB."""

    cpus: int
    memory_mib: int


def usable(root: Path = Path("/"), allowed: int | None = None) -> Usable:
    """What this process may use now. What cannot be read limits nothing.

    ``root`` is where ``proc`` and ``sys`` are; ``allowed`` the number of CPUs in its affinity.
    """
    allowed = len(allowed_cpus()) if allowed is None else allowed
    folders = list(_groups(root))
    quotas = [quota for folder in folders if (quota := _quota(folder)) is not None]
    memory = [limit for folder in folders for name in _MEMORY if (limit := _number(folder / name)) is not None]
    cpus = int(min((allowed, *quotas)))
    return Usable(max(1, cpus), min((_total_memory(root), *memory)) >> 20)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the process's groups in every hierarchy, and of those above them."""
    mounts = read_mounts(root)
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mount = _hierarchy(mounts, controllers.split(",") if controllers else ())
        if mount is not None:
            yield from _upwards(root, mount, path)


def _hierarchy(mounts: Iterable[Mount], controllers: Iterable[str]) -> Mount | None:
    """Where a hierarchy is mounted: version 1 by its controllers, version 2 has none."""
    wanted = set(controllers)
    for mount in mounts:
        if mount.fstype == "cgroup2" and not wanted:
            return mount
        if mount.fstype == "cgroup" and wanted and wanted <= set(mount.options):
            return mount
    return None


def _upwards(root: Path, mount: Mount, path: str) -> Iterator[Path]:
    """From the group ``path`` to the top of the mount. Of a group outside of what is mounted only that top is seen."""
    top = root / mount.point.lstrip("/")
    inside = path == mount.root or path.startswith(mount.root.rstrip("/") + "/")
    parts = path[len(mount.root.rstrip("/")) :].strip("/").split("/") if inside else []
    if ".." in parts:  # outside of this cgroup namespace
        parts = []
    for depth in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:depth])


def _quota(folder: Path) -> float | None:
    """CPU time per time, as a number of CPUs; None for no limit."""
    words = _text(folder / "cpu.max").split()
    if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
        return int(words[0]) / int(words[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and period else None


def _total_memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        words = line.split()
        if words[:1] == ["MemTotal:"] and len(words) > 1 and words[1].isdecimal():
            return int(words[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(path: Path) -> int | None:
    """A number of a file; None for ``max``, for -1 and when it cannot be read."""
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
