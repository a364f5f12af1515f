"""Declared CPU topologies: the label grammar, the presets, and which CPU is where.

CPUs are numbered LLC by LLC, core by core, threads of one core adjacent, so of LLCs of one size
``cpu = (llc * cores + core) * threads + thread``. LLCs are dealt to NUMA nodes in order.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

from ktstr import cpulist
from ktstr.config.scenario_fields import MAX_NODES
from ktstr.cpulist import MAX_CPUS

_COUNTS = "".join(rf"([1-9]\d{{0,3}}){letter}" for letter in "nlct")
_LABEL = re.compile(rf"{_COUNTS}(?::([\d+@/]+))?(?:~([\d+-]+))?")
_NODE = re.compile(r"(\d{1,4}(?:\+\d{1,4})*)(?:@(\d{1,8}))?")
LOCAL_DISTANCE = 10  # ACPI SLIT: a node to itself
REMOTE_DISTANCE = 20  # ACPI SLIT: the customary default between nodes
NODE_STEP_MIB = 2  # a node's memory is whole large pages
LEAST_NODE_MIB = 16


@dataclass(frozen=True)
class Node:
    """A NUMA node: the cores of each of its LLCs, none for one of memory alone; and its memory in MiB, 0 for one
    without. Those of None share what the guest gets evenly."""

    llcs: tuple[int, ...] = ()
    memory_mib: int | None = None

    @property
    def label(self) -> str:
        """``6+2@512``: LLCs of 6 and 2 cores and 512 MiB."""
        cores = "+".join(map(str, self.llcs)) or "0"
        return cores if self.memory_mib is None else f"{cores}@{self.memory_mib}"


@dataclass(frozen=True)
class Topology:
    """A synthetic machine: ``cores`` per LLC, ``threads`` per core, one package per NUMA node that has CPUs.

    ``distances`` is the node distance matrix, or None for 10 on the diagonal and 20 elsewhere. ``nodes`` says what
    each has where they or their LLCs differ (``of_nodes``): ``cores`` is then that of the largest LLC. ``offline``:
    CPUs that are offline once the machine has booted. Raises ValueError with the user's sentence when the numbers
    cannot be a machine.
    """

    numa_nodes: int
    llcs: int
    cores: int
    threads: int
    distances: tuple[tuple[int, ...], ...] | None = None
    nodes: tuple[Node, ...] = ()
    offline: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.numa_nodes, self.llcs, self.cores, self.threads) < 1:
            raise ValueError(f"topology {self.label}: every count must be at least 1")
        if not self.nodes and self.llcs % self.numa_nodes:
            raise ValueError(
                f"topology {self.label}: {self.llcs} LLCs cannot be dealt evenly to {self.numa_nodes} NUMA nodes;"
                " expected LLCs to be a multiple of nodes"
            )
        if self.cpus > MAX_CPUS:
            raise ValueError(f"topology {self.label}: {self.cpus} CPUs, expected at most {MAX_CPUS}")
        self._check_offline()
        if self.distances is not None:
            self._check_distances(self.distances)

    def _check_offline(self) -> None:
        outside = [cpu for cpu in self.offline if not 0 <= cpu < self.cpus]
        if outside:
            found = cpulist.render(outside)
            raise ValueError(
                f"topology {self.label}: no CPUs {found} to be offline, expected some of 1-{self.cpus - 1}"
            )
        if 0 in self.offline:
            raise ValueError(f"topology {self.label}: CPU 0 cannot go offline, expected other CPUs")

    def _check_distances(self, matrix: tuple[tuple[int, ...], ...]) -> None:
        n = self.numa_nodes
        if len(matrix) != n or any(len(row) != n for row in matrix):
            raise ValueError(f"topology {self.label}: distances must be a {n}x{n} matrix")
        for i, row in enumerate(matrix):
            for j, d in enumerate(row):
                if i == j and d != LOCAL_DISTANCE:
                    raise ValueError(f"topology {self.label}: distance {i}->{i} is {d}, expected {LOCAL_DISTANCE}")
                if i != j and not LOCAL_DISTANCE < d <= 254:
                    raise ValueError(f"topology {self.label}: distance {i}->{j} is {d}, expected 11 to 254")
                if d != matrix[j][i]:
                    raise ValueError(f"topology {self.label}: distances {i}->{j} and {j}->{i} differ")

    @classmethod
    def parse(cls, label: str) -> Topology:
        """Read a label such as ``1n2l4c2t``, or that of any other topology; raises ValueError saying what was
        expected."""
        m = _LABEL.fullmatch(label)
        if m is None:
            raise ValueError(f"topology {label!r}: expected NODESnLLCSlCOREScTHREADSt, such as 1n2l4c2t")
        n, llcs, c, t = (int(g) for g in m.groups()[:4])
        topology = of_nodes(_parsed_nodes(m[5]), t) if m[5] else cls(n, llcs, c, t)
        if m[6]:
            topology = replace(topology, offline=cpulist.parse(m[6].replace("+", ",")))
        if topology.label != label:
            raise ValueError(f"topology {label!r}: is that of {topology.label}, expected it to be called so")
        return topology

    @property
    def label(self) -> str:
        """``1n2l4c2t``, of nodes that differ ``2n2l6c1t:6+2/0@512``, and behind it CPUs that are offline: ``~2-3``."""
        counts = f"{self.numa_nodes}n{self.llcs}l{self.cores}c{self.threads}t"
        nodes = ":" + "/".join(node.label for node in self.nodes) if self.nodes else ""
        return counts + nodes + ("~" + cpulist.render(self.offline).replace(",", "+") if self.offline else "")

    @property
    def is_plain(self) -> bool:
        """Whether ``NnLlCcTt`` says it all, but for distances."""
        return not self.nodes and not self.offline

    @cached_property
    def llc_cores(self) -> tuple[int, ...]:
        """How many cores each LLC has."""
        return tuple(c for node in self.nodes for c in node.llcs) if self.nodes else (self.cores,) * self.llcs

    @cached_property
    def _first(self) -> tuple[int, ...]:
        """The first CPU of each LLC, and how many CPUs there are."""
        return tuple(accumulate((cores * self.threads for cores in self.llc_cores), initial=0))

    @cached_property
    def node_llcs(self) -> tuple[tuple[int, ...], ...]:
        """The LLCs of each node; none of one of memory alone."""
        each = self.llcs // self.numa_nodes
        counts = [len(node.llcs) for node in self.nodes] or [each] * self.numa_nodes
        ends = list(accumulate(counts))
        return tuple(tuple(range(end - count, end)) for end, count in zip(ends, counts, strict=True))

    @cached_property
    def memory_nodes(self) -> tuple[int, ...]:
        """The nodes that have memory."""
        without = {number for number, node in enumerate(self.nodes) if node.memory_mib == 0}
        return tuple(node for node in range(self.numa_nodes) if node not in without)

    @cached_property
    def cpu_nodes(self) -> tuple[int, ...]:
        """The nodes that have CPUs."""
        return tuple(node for node, llcs in enumerate(self.node_llcs) if llcs)

    @property
    def cpus(self) -> int:
        """All of them, whether they are online or not."""
        return self._first[-1]

    @property
    def most_cpus_per_llc(self) -> int:
        """The CPUs of the largest LLC."""
        return self.cores * self.threads

    def llc_cpus(self, llc: int) -> tuple[int, ...]:
        return tuple(range(self._first[llc], self._first[llc + 1]))

    def node_cpus(self, node: int) -> tuple[int, ...]:
        """None of a node of memory alone."""
        return tuple(cpu for llc in self.node_llcs[node] for cpu in self.llc_cpus(llc))

    def llc_of(self, cpu: int) -> int:
        return bisect_right(self._first, cpu) - 1

    def node_of(self, cpu: int) -> int:
        llc = self.llc_of(cpu)
        return next(node for node, llcs in enumerate(self.node_llcs) if llc in llcs)

    def smt_cpus(self, cpu: int) -> tuple[int, ...]:
        first = cpu - cpu % self.threads
        return tuple(range(first, first + self.threads))

    def distance(self, a: int, b: int) -> int:
        if self.distances is not None:
            return self.distances[a][b]
        return LOCAL_DISTANCE if a == b else REMOTE_DISTANCE

    def nearest(self, node: int, among: Sequence[int]) -> tuple[int, ...]:
        """Those of some nodes that are nearest to a node: itself where it is one of them."""
        least = min(self.distance(node, other) for other in among)
        return tuple(other for other in among if self.distance(node, other) == least)

    @cached_property
    def online_cpus(self) -> tuple[int, ...]:
        """Those that are online once the machine has booted."""
        return tuple(cpu for cpu in range(self.cpus) if cpu not in self.offline)

    @property
    def usable_cpus(self) -> tuple[int, ...]:
        """All CPUs that are online but the last, kept for the root cgroup, when there are more than two."""
        return self.online_cpus[:-1] if len(self.online_cpus) > 2 else self.online_cpus


def of_nodes(nodes: Sequence[Node], threads: int = 1) -> Topology:
    """The topology of these NUMA nodes: one with the plain label where they and their LLCs are all alike.

    Raises ValueError, a sentence without a label, for nodes that are no machine. Nodes of memory alone come last, as
    Linux numbers them: it reads the CPUs of ACPI's SRAT before its memory (drivers/acpi/numa/srat.c, acpi_numa_init).
    """
    with_cpus = [number for number, node in enumerate(nodes) if node.llcs]
    sizes = [cores for node in nodes for cores in node.llcs]
    memory = [node.memory_mib for node in nodes]
    if not with_cpus:
        raise ValueError("at least one node with LLCs")
    if with_cpus != list(range(len(with_cpus))):
        raise ValueError("nodes of memory alone after those with LLCs, which Linux numbers first")
    if len(nodes) > MAX_NODES:
        raise ValueError(f"at most {MAX_NODES} nodes")
    if all(mib == 0 for mib in memory):
        raise ValueError("at least one node with memory")
    if any(not node.llcs and node.memory_mib == 0 for node in nodes):
        raise ValueError("LLCs, or memory, in each node")
    if min(sizes) < 1:
        raise ValueError("at least one core in each LLC")
    wrong = [mib for mib in memory if mib and (mib < LEAST_NODE_MIB or mib % NODE_STEP_MIB)]
    if wrong:
        raise ValueError(f"memory of 0, or of at least {LEAST_NODE_MIB} MiB in steps of {NODE_STEP_MIB}")
    alike = len(set(nodes)) == len(set(sizes)) == 1 and nodes[0].memory_mib is None
    return Topology(len(nodes), len(sizes), max(sizes), threads, nodes=() if alike else tuple(nodes))


def _parsed_nodes(text: str) -> list[Node]:
    """The nodes of a label. Raises ValueError."""
    nodes = []
    for part in text.split("/"):
        m = _NODE.fullmatch(part)
        if m is None:
            raise ValueError(f"topology node {part!r}: expected CORES+CORES@MIB, such as 6+2@512")
        cores = tuple(int(number) for number in m[1].split("+"))
        nodes.append(Node(() if cores == (0,) else cores, None if m[2] is None else int(m[2])))
    return nodes


# The reference's gauntlet on x86-64.
PRESETS: dict[str, str] = {
    "tiny-1llc": "1n1l4c1t",
    "tiny-2llc": "1n2l2c1t",
    "odd-3llc": "1n3l3c1t",
    "odd-5llc": "1n5l3c1t",
    "odd-7llc": "1n7l2c1t",
    "smt-2llc": "1n2l2c2t",
    "smt-3llc": "1n3l2c2t",
    "medium-4llc": "1n4l4c2t",
    "medium-8llc": "1n8l4c2t",
    "large-4llc": "1n4l16c2t",
    "large-8llc": "1n8l8c2t",
    "near-max-llc": "1n15l8c2t",
    "max-cpu": "1n14l9c2t",
    "medium-4llc-nosmt": "1n4l8c1t",
    "medium-8llc-nosmt": "1n8l8c1t",
    "large-4llc-nosmt": "1n4l32c1t",
    "large-8llc-nosmt": "1n8l16c1t",
    "near-max-llc-nosmt": "1n15l16c1t",
    "max-cpu-nosmt": "1n14l18c1t",
    "numa2-4llc": "2n4l4c1t",
    "numa2-8llc": "2n8l8c2t",
    "numa2-8llc-nosmt": "2n8l16c1t",
    "numa4-8llc": "4n8l4c1t",
    "numa4-12llc": "4n12l8c2t",
}
