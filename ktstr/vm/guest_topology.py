"""Whether the guest sees the machine that was declared.

A guest on another topology than its cell names has measured something else, so any difference
makes the cell an error, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from ktstr.config.topology import Topology
from ktstr.cpulist import render
from ktstr.record.guest import GuestCpu, GuestNode, GuestRecord
from ktstr.vm.memory import nodes_mib

_FIRMWARE_MIB = 8  # at most, of a node: what firmware keeps, and the hole below 1 MiB
_MAX_SHOWN = 60  # characters of a list that came from the guest


def differences(guest: GuestRecord, topology: Topology, memory_mib: int) -> list[str]:
    """One sentence for each kind of thing that differs; empty when the guest sees what was declared.

    ``memory_mib``: of the whole guest. How much each node has of it is compared where the nodes are declared one by
    one. CPUs are as they were before those that are to be offline went.
    """
    found = {cpu.cpu: cpu for cpu in guest.cpus}
    if sorted(found) != list(range(topology.cpus)):
        return [f"CPUs: the guest shows {_cpus(found)}, declared {_cpus(range(topology.cpus))}"]
    cpus = [found[cpu] for cpu in range(topology.cpus)]
    compared = (
        _compare("NUMA node", cpus, lambda c: (c.node,), lambda c: (topology.node_of(c),)),
        _compare("LLC", cpus, lambda c: c.llc_cpus, lambda c: topology.llc_cpus(topology.llc_of(c))),
        _compare("SMT siblings", cpus, lambda c: c.smt_cpus, topology.smt_cpus),
        _packages(cpus, topology),
        _distances(guest.node_distances, topology),
        *(_listed(what, cpus, topology) for what, cpus in _lists(guest)),
        *_nodes(guest.nodes or (), topology, memory_mib),
    )
    return [text for text in compared if text is not None]


def _cpus(cpus: Iterable[int]) -> str:
    text = render(cpus) or "none"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _compare(
    what: str,
    cpus: Collection[GuestCpu],
    shown: Callable[[GuestCpu], tuple[int, ...]],
    declared: Callable[[int], tuple[int, ...]],
) -> str | None:
    """The first CPU of which the guest shows something else, and how many there are."""
    wrong = [cpu for cpu in cpus if shown(cpu) != declared(cpu.cpu)]
    if not wrong:
        return None
    first, more = wrong[0], len(wrong) - 1
    others = f" (and {more} more CPUs)" if more else ""
    what = f"{what} of CPU {first.cpu}"
    return f"{what}: the guest shows {_cpus(shown(first))}, declared {_cpus(declared(first.cpu))}{others}"


def _packages(cpus: Collection[GuestCpu], topology: Topology) -> str | None:
    """One package per NUMA node. The numbers are the guest's own; which CPUs share one is what counts."""
    members: dict[int, tuple[int, ...]] = {}
    for cpu in cpus:
        members[cpu.package] = (*members.get(cpu.package, ()), cpu.cpu)
    return _compare("package", cpus, lambda c: members[c.package], lambda c: topology.node_cpus(topology.node_of(c)))


def _distances(shown: tuple[tuple[int, ...], ...], topology: Topology) -> str | None:
    nodes = range(topology.numa_nodes)
    declared = tuple(tuple(topology.distance(a, b) for b in nodes) for a in nodes)
    if shown == declared or (not shown and topology.numa_nodes == 1):  # a kernel without NUMA shows none
        return None
    return f"node distances: the guest shows {_matrix(shown)}, declared {_matrix(declared)}"


def _lists(guest: GuestRecord) -> tuple[tuple[str, tuple[int, ...] | None], ...]:
    return ("possible CPUs", guest.possible_cpus), ("present CPUs", guest.present_cpus)


def _listed(what: str, cpus: tuple[int, ...] | None, topology: Topology) -> str | None:
    if cpus is None or cpus == tuple(range(topology.cpus)):
        return None
    return f"{what}: the guest shows {_cpus(cpus)}, declared {_cpus(range(topology.cpus))}"


def _nodes(nodes: Sequence[GuestNode], topology: Topology, memory_mib: int) -> Iterator[str | None]:
    """Which there are, what memory each has and which node is nearest to that. A kernel without NUMA tells of none."""
    if not nodes:
        return
    numbers = [node.node for node in nodes]
    if numbers != list(range(topology.numa_nodes)):
        yield f"NUMA nodes: the guest shows {_cpus(numbers)}, declared {_cpus(range(topology.numa_nodes))}"
        return
    if topology.nodes:
        yield from (_memory(node, mib) for node, mib in zip(nodes, nodes_mib(topology, memory_mib), strict=True))
    yield from (_nearest(node, topology) for node in nodes)


def _memory(node: GuestNode, declared_mib: int) -> str | None:
    least = max(0, declared_mib - _FIRMWARE_MIB)
    if least << 10 <= node.memory_kib <= declared_mib << 10 and (node.memory_kib > 0) is (declared_mib > 0):
        return None
    return f"memory of node {node.node}: the guest shows {node.memory_kib} KiB, declared {declared_mib} MiB"


def _nearest(node: GuestNode, topology: Topology) -> str | None:
    nearest = topology.nearest(node.node, topology.cpu_nodes)[:1]
    if not node.initiators or node.initiators == nearest:
        return None
    what = f"the node nearest to the memory of node {node.node}"
    return f"{what}: the guest shows {_cpus(node.initiators)}, declared {_cpus(nearest)}"


def _matrix(rows: tuple[tuple[int, ...], ...]) -> str:
    text = " / ".join(" ".join(str(d) for d in row) for row in rows) or "none"
    return text if len(text) <= 2 * _MAX_SHOWN else text[: 2 * _MAX_SHOWN] + "..."
