"""This host's CPUs as its sysfs shows them: which share a last-level cache, and on which NUMA node they are."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ktstr import cpulist

UNKNOWN_DISTANCE = 255  # of a node whose distance nobody knows: it is taken last
LOCAL, REMOTE = 10, 20  # ACPI SLIT's customary values, where sysfs has no distances


@dataclass(frozen=True)
class Llc:
    """The CPUs that share a last-level cache. ``index`` counts them from 0; ``node`` is None where unknown."""

    index: int
    cpus: tuple[int, ...]
    node: int | None


@dataclass(frozen=True)
class HostTopology:
    """LLCs in order of their hardware id; ``node_of`` each CPU; ``distances`` by pairs of nodes."""

    llcs: tuple[Llc, ...]
    node_of: dict[int, int]
    distances: dict[tuple[int, int], int]

    @property
    def cpus(self) -> tuple[int, ...]:
        return tuple(sorted(cpu for llc in self.llcs for cpu in llc.cpus))

    def distance(self, a: int | None, b: int | None) -> int:
        """As in SLIT; ``UNKNOWN_DISTANCE`` when either node is unknown."""
        if a is None or b is None:
            return UNKNOWN_DISTANCE
        return self.distances.get((a, b), LOCAL if a == b else REMOTE)


def allowed_cpus() -> frozenset[int]:
    """The CPUs this process may run on."""
    return frozenset(os.sched_getaffinity(0))


def read_topology(root: Path = Path("/")) -> HostTopology:
    """Read sysfs below ``root``. Unreadable parts give less detail: one LLC, no nodes; never an error."""
    base = root / "sys/devices/system"
    nodes = _nodes(base / "node")
    node_of = {cpu: node for node, cpus in nodes.items() for cpu in cpus}
    groups: dict[int, list[int]] = {}
    for cpu in _cpu_list(base / "cpu/online") or tuple(sorted(allowed_cpus())):
        groups.setdefault(_llc_id(base / f"cpu/cpu{cpu}/cache"), []).append(cpu)
    llcs = tuple(
        Llc(index, tuple(cpus), _majority(cpus, node_of)) for index, (_, cpus) in enumerate(sorted(groups.items()))
    )
    return HostTopology(llcs, node_of, _distances(base / "node", sorted(nodes)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpu_list(path: Path) -> tuple[int, ...]:
    """The CPUs or nodes that a file lists; none when it cannot be read as a list."""
    try:
        return cpulist.parse(_text(path), cpulist.MAX_HOST_CPUS)
    except ValueError:
        return ()


def _llc_id(folder: Path) -> int:
    """The cache of the highest level: its ``id``, else the smallest CPU that shares it, else 0."""
    indexes = [path for path in folder.glob("index*") if _text(path / "level").isdecimal()]
    if not indexes:
        return 0
    last = max(indexes, key=lambda path: int(_text(path / "level")))
    number = _text(last / "id")
    if number.isdecimal():
        return int(number)
    return min(_cpu_list(last / "shared_cpu_list"), default=0)


def _nodes(folder: Path) -> dict[int, tuple[int, ...]]:
    """Nodes that have CPUs; a node of memory only holds nothing to place."""
    found = {}
    for path in folder.glob("node[0-9]*"):
        if cpus := _cpu_list(path / "cpulist"):
            found[int(path.name[4:])] = cpus
    return found


def _distances(folder: Path, nodes: list[int]) -> dict[tuple[int, int], int]:
    """``nodeN/distance`` has one number for each online node, in order (drivers/base/node.c)."""
    online = _cpu_list(folder / "online") or tuple(nodes)
    found = {}
    for node in nodes:
        row = _text(folder / f"node{node}/distance").split()
        if len(row) == len(online) and all(item.isdecimal() for item in row):
            found.update({(node, other): int(item) for other, item in zip(online, row, strict=True)})
    return found


def _majority(cpus: list[int], node_of: dict[int, int]) -> int | None:
    counts = Counter(node_of[cpu] for cpu in cpus if cpu in node_of)
    return min(counts, key=lambda node: (-counts[node], node)) if counts else None
