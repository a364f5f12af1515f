"""Where the memory of workers is to be: their policy as the kernel takes it, and the nodes that are expected of it."""

from __future__ import annotations

from ktstr import cpulist
from ktstr.config import scenario
from ktstr.errors import InputError
from ktstr.scenarios.places import Cpus, Places
from ktstr.scenarios.program import MemPolicy

# include/uapi/linux/mempolicy.h
_FLAGS = {"static_nodes": 1 << 15, "relative_nodes": 1 << 14, "numa_balancing": 1 << 13}


def policy(declared: scenario.MemPolicy, places: Places, cgroup: str | None) -> MemPolicy:
    """The policy. Raises InputError for nodes that the machine does not have, or that are not the cgroup's."""
    nodes = declared.nodes if declared.mode != "local" else None
    flags = sum(_FLAGS[flag] for flag in declared.flags)
    if nodes is not None:
        _check(declared, nodes, places, cgroup)
    return MemPolicy(declared.mode, nodes, flags)


def _check(declared: scenario.MemPolicy, nodes: Cpus, places: Places, cgroup: str | None) -> None:
    topology, allowed = places.topology, nodes_of(places, cgroup)
    relative = "relative_nodes" in declared.flags
    outside = [node for node in nodes if not relative and not 0 <= node < topology.numa_nodes]
    bare = sorted(set(nodes) - set(outside) - set(topology.memory_nodes))
    if bare and not relative:
        raise InputError(
            f"{declared.where}: found nodes {cpulist.render(bare)}, which have no memory, expected some of"
            f" {cpulist.render(topology.memory_nodes)} (topology {topology.label})"
        )
    if not nodes or outside:
        found = f"nodes {cpulist.render(outside)}" if outside else "no node"
        raise InputError(
            f"{declared.where}: found {found}, expected nodes 0 to {topology.numa_nodes - 1}"
            f" (topology {topology.label})",
            fix=f"constrain the test: constraints: {{min_numa_nodes: {max(outside, default=0) + 1}}}",
        )
    if relative:
        return
    mems = places.mems(cgroup)
    kept = mems is None or bool(set(nodes) & set(mems))
    if set(nodes) - set(allowed or nodes) and not ("static_nodes" in declared.flags and kept):
        raise InputError(
            f"{declared.where}: found nodes {cpulist.render(nodes)}, expected some of those of cgroup {cgroup},"
            f" {cpulist.render(allowed or ())} (topology {topology.label})",
            fix="widen its cpuset or mems, or add mem_flags: [static_nodes]" if kept else "widen its cpuset or mems",
        )


def nodes_of(places: Places, cgroup: str | None) -> Cpus | None:
    """The nodes of a cgroup: its ``mems``, else those of its cpuset's CPUs, or where such a node has no memory the
    nearest ones that have (mm/page_alloc.c, find_next_best_node); None where it has neither."""
    mems = places.mems(cgroup)
    if mems is not None:
        return mems
    confined = places.confined(cgroup)
    if confined is None:
        return None
    topology = places.topology
    nodes = {topology.node_of(cpu) for cpu in confined}
    return tuple(sorted({near for node in nodes for near in topology.nearest(node, topology.memory_nodes)}))


def expected_nodes(declared: scenario.MemPolicy | None, places: Places, cgroup: str | None) -> Cpus | None:
    """The nodes where pages are to be: the policy's, else the cgroup's; None for anywhere.

    Relative nodes count within the allowed ones, and wrap around (mpol_relative_nodemask of mm/mempolicy.c).
    """
    allowed = nodes_of(places, cgroup)
    if declared is None or declared.mode == "local":
        return allowed
    nodes = declared.nodes
    if "relative_nodes" in declared.flags:
        base = places.mems(cgroup) or places.topology.memory_nodes
        return tuple(sorted({base[node % len(base)] for node in nodes}))
    mems = places.mems(cgroup)
    return tuple(sorted(set(nodes) if mems is None else set(nodes) & set(mems)))
