"""Whether the guest sees the machine that was declared.

A guest on another topology than its cell names has measured something else, so any difference
makes the cell an error, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from ktstr.config.topology import Topology
from ktstr.cpulist import render
from ktstr.record.guest import GuestCpu, GuestRecord

_MAX_SHOWN = 60  # characters of a list that came from the guest


def differences(guest: GuestRecord, topology: Topology) -> list[str]:
    """One sentence for each kind of thing that differs; empty when the guest sees what was declared."""
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


def _matrix(rows: tuple[tuple[int, ...], ...]) -> str:
    text = " / ".join(" ".join(str(d) for d in row) for row in rows) or "none"
    return text if len(text) <= 2 * _MAX_SHOWN else text[: 2 * _MAX_SHOWN] + "..."
