"""Reads ``presets``: topologies by name, as a label or as a mapping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ktstr.config import fields
from ktstr.config.reader import BAD, Reader
from ktstr.config.topology import PRESETS, Topology, of_nodes
from ktstr.config.topology import Node as NumaNode
from ktstr.config.typed import read, read_table
from ktstr.config.yaml_lines import Node
from ktstr.cpulist import MAX_CPUS

_MIB = 1 << 20
_CORES = fields.Field("int", "the cores of an LLC", 1, MAX_CPUS)


def read_preset(r: Reader, node: Node, name: str, path: str) -> Topology | None:
    """The topology; None, with the problem recorded, for what is no machine."""
    if name in PRESETS:
        r.wrong(node, path, "a name that no built-in preset has", what=f"the name of {PRESETS[name]}")
        return None
    if not isinstance(node.value, dict):
        topology = read(r, node, path, fields.PRESET["topology"])
        return None if topology is BAD else topology
    values = read_table(r, node, path, fields.PRESET)
    topology = _machine(r, node, values, path)
    if topology is not None and "distances" in values:
        topology = _with_distances(r, topology, values["distances"], f"{path}.distances")
    if topology is not None and "offline" in values:
        machine, cpus = topology, tuple(int(cpu) for cpu in values["offline"])
        topology = _possible(
            r, r.mapping(node, path)["offline"], f"{path}.offline", lambda: replace(machine, offline=cpus)
        )
    return topology


def _machine(r: Reader, node: Node, values: dict[str, Any], path: str) -> Topology | None:
    """Of ``topology``, or of ``nodes`` and ``threads``: of exactly one of the two."""
    entries = r.mapping(node, path)
    if ("topology" in entries) == ("nodes" in entries):
        what = "both" if "nodes" in entries else "neither"
        r.wrong(node, path, "either topology, a label such as 2n4l4c1t, or nodes", what=what)
        return None
    if "nodes" in entries:
        return _of_nodes(r, entries["nodes"], values.get("threads", 1), f"{path}.nodes")
    if "threads" in entries:
        r.wrong_key(node, "threads", f"{path}.threads", "threads beside nodes only: a label has its own")
    return values.get("topology")


def _of_nodes(r: Reader, node: Node, threads: int, path: str) -> Topology | None:
    children = r.items(node, path, "a list of NUMA nodes, such as [{llcs: [4, 2]}, {memory: 512M}]")
    nodes = [_numa_node(r, child, f"{path}[{number}]") for number, child in enumerate(children)]
    whole = tuple(one for one in nodes if one is not None)
    if not whole or len(whole) != len(nodes):
        return None
    return _possible(r, node, path, lambda: of_nodes(whole, threads))


def _numa_node(r: Reader, node: Node, path: str) -> NumaNode | None:
    before = len(r.problems)
    values = read_table(r, node, path, fields.NUMA_NODE)
    cores: list[int] = []
    if "llcs" in values:
        rule = "the cores of each LLC, such as [6, 2]"
        children = r.items(values["llcs"], f"{path}.llcs", rule)
        cores = [read(r, child, f"{path}.llcs[{number}]", _CORES) for number, child in enumerate(children)]
    memory = values.get("memory")
    if memory == "max" or (memory is not None and int(memory) % _MIB):
        r.wrong(r.mapping(node, path)["memory"], f"{path}.memory", "whole MiB, such as 512M, or 0")
    if isinstance(node.value, dict) and not node.value:
        r.wrong(node, path, "llcs, memory, or both", what="an empty mapping")
    if len(r.problems) > before:
        return None
    return NumaNode(tuple(cores), None if memory is None else int(memory) // _MIB)


def _with_distances(r: Reader, topology: Topology, node: Node, path: str) -> Topology | None:
    rows = r.items(node, path, "a matrix: a list of rows")
    matrix = tuple(tuple(n.value for n in row.value) if isinstance(row.value, list) else None for row in rows)
    if any(row is None or any(type(d) is not int for d in row) for row in matrix):
        r.wrong(node, path, "a matrix of whole numbers", what="something else")
        return None
    try:
        return replace(topology, distances=matrix)  # type: ignore[arg-type]
    except ValueError as err:
        shape = f"a matrix of {len(matrix)} rows"
        r.wrong(node, path, f"possible distances: {str(err).partition(': ')[2]}", what=shape)
        return None


def _possible(r: Reader, node: Node, path: str, make: Callable[[], Topology]) -> Topology | None:
    """What ``make`` makes; None, with its reason recorded, for what it refuses."""
    try:
        return make()
    except ValueError as err:
        r.wrong(node, path, f"a possible machine: {str(err).rpartition(': ')[2]}")
        return None
