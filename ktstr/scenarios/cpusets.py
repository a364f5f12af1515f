"""Declared cpusets, resolved against a topology to CPU numbers.

The last CPU is kept for the root cgroup when there are more than two: fractions and partitions
work on the usable rest, while llc, numa and exact may name it.
"""

from __future__ import annotations

import math

from ktstr import cpulist
from ktstr.config.scenario import Cpuset
from ktstr.config.topology import Topology
from ktstr.errors import InputError


def resolve(cpuset: Cpuset, topology: Topology) -> tuple[int, ...]:
    """The cpuset's CPUs on this topology, ascending.

    Raises InputError, with the place of the declaration, for one that the topology does not have
    or that would be empty.
    """
    if cpuset.kind == "llc":
        return _online(cpuset, topology, topology.llc_cpus(_index(cpuset, topology, topology.llcs, "LLC")))
    if cpuset.kind == "numa":
        return _online(cpuset, topology, topology.node_cpus(_index(cpuset, topology, topology.numa_nodes, "NUMA node")))
    if cpuset.kind == "range":
        return _range(cpuset, topology)
    if cpuset.kind == "all":
        return tuple(range(topology.cpus))
    if cpuset.kind == "except":
        return _except(cpuset, topology)
    if cpuset.kind == "exact":
        return exact(tuple(int(cpu) for cpu in cpuset.args), topology, f"{cpuset.where}.exact")
    return _part(cpuset, topology)


def exact(cpus: tuple[int, ...], topology: Topology, where: str) -> tuple[int, ...]:
    """These CPUs, which the topology must have. Raises InputError naming those it has not."""
    outside = [cpu for cpu in cpus if not 0 <= cpu < topology.cpus]
    if not cpus or outside:
        found = f"CPUs {cpulist.render(outside)}" if outside else "no CPU"
        raise InputError(f"{where}: found {found}, expected CPUs 0-{topology.cpus - 1} ({_size(topology)})")
    return tuple(sorted(set(cpus)))


def _size(topology: Topology) -> str:
    return f"topology {topology.label}: {topology.cpus} CPUs, {len(topology.usable_cpus)} usable"


def _base(cpuset: Cpuset, topology: Topology) -> tuple[int, ...]:
    """What it is a part of."""
    return topology.usable_cpus if cpuset.inner is None else resolve(cpuset.inner, topology)


def _except(cpuset: Cpuset, topology: Topology) -> tuple[int, ...]:
    left_out = _base(cpuset, topology)
    cpus = tuple(cpu for cpu in topology.usable_cpus if cpu not in left_out)
    if not cpus:
        found = f"no usable CPU but {cpulist.render(left_out)}"
        raise InputError(f"{cpuset.where}.except: found {found}, expected at least one ({_size(topology)})")
    return cpus


def _index(cpuset: Cpuset, topology: Topology, count: int, what: str) -> int:
    index = int(cpuset.args[0])
    if not 0 <= index < count:
        limit = "min_llcs" if cpuset.kind == "llc" else "min_numa_nodes"
        raise InputError(
            f"{cpuset.where}.{cpuset.kind}: found {what} {index}, expected 0 to {count - 1} ({_size(topology)})",
            fix=f"constrain the test: constraints: {{{limit}: {index + 1}}}",
        )
    return index


def _online(cpuset: Cpuset, topology: Topology, cpus: tuple[int, ...]) -> tuple[int, ...]:
    """Those that the preset has online. Raises InputError when it has none."""
    online = tuple(cpu for cpu in cpus if cpu not in topology.offline)
    if not online:
        what = f"CPUs {cpulist.render(cpus)}, which are offline" if cpus else "a node without CPUs"
        raise InputError(
            f"{cpuset.where}.{cpuset.kind}: found {what}, expected one with CPUs that are online ({_size(topology)})",
            fix="another number, or another preset",
        )
    return online


def _range(cpuset: Cpuset, topology: Topology) -> tuple[int, ...]:
    """base[floor(n * start) .. floor(n * end)), in floating point."""
    start, end = cpuset.args
    usable = _base(cpuset, topology)
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end <= 1):
        raise InputError(f"{cpuset.where}.range: found [{start}, {end}], expected 0 <= from < to <= 1")
    cpus = usable[math.floor(len(usable) * start) : math.floor(len(usable) * end)]
    if not cpus:
        raise InputError(
            f"{cpuset.where}.range: found no CPU in [{start:g}, {end:g}], expected at least one ({_size(topology)})"
        )
    return cpus


def _part(cpuset: Cpuset, topology: Topology) -> tuple[int, ...]:
    """One of ``of`` chunks of the base, the last with the remainder; overlap widens the inner sides."""
    index, of = int(cpuset.args[0]), int(cpuset.args[1])
    frac = cpuset.args[2] if cpuset.kind == "overlap" else 0.0
    usable = _base(cpuset, topology)
    where = f"{cpuset.where}.{cpuset.kind}"
    if not 0 <= index < of:
        raise InputError(f"{where}: found index {index} of {of} parts, expected an index below {of}")
    if not 0 <= frac <= 1:
        raise InputError(f"{where}: found the fraction {frac}, expected 0 to 1")
    if len(usable) < of:
        what = "usable CPU" if cpuset.inner is None else f"CPU of {cpulist.render(usable)}"
        raise InputError(f"{where}: found {of} parts, expected at most one per {what} ({_size(topology)})")
    chunk = len(usable) // of
    widen = math.floor(chunk * frac)
    start = index * chunk - (widen if index > 0 else 0)
    end = len(usable) if index == of - 1 else (index + 1) * chunk + widen
    return usable[start:end]
