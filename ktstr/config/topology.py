"""Declared CPU topologies: the label grammar, the presets, and which CPU is where.

CPUs are numbered LLC by LLC, core by core, threads of one core adjacent, so
``cpu = (llc * cores + core) * threads + thread``. LLCs are dealt to NUMA nodes in order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ktstr.cpulist import MAX_CPUS

_LABEL = re.compile(r"([1-9]\d{0,3})n([1-9]\d{0,3})l([1-9]\d{0,3})c([1-9]\d{0,3})t")
LOCAL_DISTANCE = 10  # ACPI SLIT: a node to itself
REMOTE_DISTANCE = 20  # ACPI SLIT: the customary default between nodes


@dataclass(frozen=True)
class Topology:
    """A synthetic machine: ``cores`` per LLC, ``threads`` per core, one package per NUMA node.

    ``distances`` is the node distance matrix, or None for 10 on the diagonal and 20 elsewhere.
    Raises ValueError with the user's sentence when the numbers cannot be a machine.
    """

    numa_nodes: int
    llcs: int
    cores: int
    threads: int
    distances: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if min(self.numa_nodes, self.llcs, self.cores, self.threads) < 1:
            raise ValueError(f"topology {self.label}: every count must be at least 1")
        if self.llcs % self.numa_nodes:
            raise ValueError(
                f"topology {self.label}: {self.llcs} LLCs cannot be dealt evenly to {self.numa_nodes} NUMA nodes;"
                " expected LLCs to be a multiple of nodes"
            )
        if self.cpus > MAX_CPUS:
            raise ValueError(f"topology {self.label}: {self.cpus} CPUs, expected at most {MAX_CPUS}")
        if self.distances is not None:
            self._check_distances(self.distances)

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
        """Read a label such as ``1n2l4c2t``; raises ValueError saying what was expected."""
        m = _LABEL.fullmatch(label)
        if m is None:
            raise ValueError(f"topology {label!r}: expected NODESnLLCSlCOREScTHREADSt, such as 1n2l4c2t")
        n, llcs, c, t = (int(g) for g in m.groups())
        return cls(n, llcs, c, t)

    @property
    def label(self) -> str:
        return f"{self.numa_nodes}n{self.llcs}l{self.cores}c{self.threads}t"

    @property
    def cpus(self) -> int:
        return self.llcs * self.cores * self.threads

    @property
    def cpus_per_llc(self) -> int:
        return self.cores * self.threads

    def llc_cpus(self, llc: int) -> tuple[int, ...]:
        return tuple(range(llc * self.cpus_per_llc, (llc + 1) * self.cpus_per_llc))

    def node_cpus(self, node: int) -> tuple[int, ...]:
        size = self.cpus // self.numa_nodes
        return tuple(range(node * size, (node + 1) * size))

    def llc_of(self, cpu: int) -> int:
        return cpu // self.cpus_per_llc

    def node_of(self, cpu: int) -> int:
        return cpu // (self.cpus // self.numa_nodes)

    def smt_cpus(self, cpu: int) -> tuple[int, ...]:
        first = cpu - cpu % self.threads
        return tuple(range(first, first + self.threads))

    def distance(self, a: int, b: int) -> int:
        if self.distances is not None:
            return self.distances[a][b]
        return LOCAL_DISTANCE if a == b else REMOTE_DISTANCE

    @property
    def usable_cpus(self) -> tuple[int, ...]:
        """All CPUs but the last, kept for the root cgroup, when there are more than two."""
        return tuple(range(self.cpus - 1 if self.cpus > 2 else self.cpus))


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
