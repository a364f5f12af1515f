from __future__ import annotations

import pytest

from ktstr.config.topology import Node, Topology
from tests.config.declarations import HEAD, read, told

TEST = "tests:\n  t:\n    cgroups: [{name: a}]\n"


def preset(body: str) -> Topology:
    return read(f"{HEAD}{TEST}presets:\n  p: {body}\n").presets["p"]


def mistake(body: str) -> tuple[str, str]:
    """What is told of the one mistake, with its field, and the place that ``^`` marks."""
    return told(f"{HEAD}{TEST}presets:\n  p: {body}\n")


def test_llcs_of_unequal_size() -> None:
    topology = preset("{nodes: [{llcs: [6, 2]}]}")
    assert topology == Topology(1, 2, 6, 1, nodes=(Node((6, 2)),))
    assert topology.label == "1n2l6c1t:6+2"


def test_memory_alone_none_and_so_much() -> None:
    topology = preset(
        "{threads: 2, nodes: [{llcs: [4, 2], memory: 1G}, {llcs: [2], memory: 0}, {memory: 512M}, {memory: 512M}]}"
    )
    assert topology.nodes == (Node((4, 2), 1024), Node((2,), 0), Node((), 512), Node((), 512))
    assert (topology.numa_nodes, topology.llcs, topology.cpus, topology.threads) == (4, 3, 16, 2)
    assert (topology.cpu_nodes, topology.memory_nodes) == ((0, 1), (0, 2, 3))


def test_nodes_that_are_all_alike_are_a_plain_label() -> None:
    assert preset("{nodes: [{llcs: [4, 4]}, {llcs: [4, 4]}]}") == Topology.parse("2n4l4c1t") == preset("2n4l4c1t")


def test_distances_and_cpus_that_are_offline() -> None:
    topology = preset("{topology: 1n2l2c1t, offline: 2-3}")
    assert (topology.offline, topology.online_cpus, topology.cpus) == ((2, 3), (0, 1), 4)
    assert topology.label == "1n2l2c1t~2-3"
    far = preset("{nodes: [{llcs: [1]}, {memory: 64M}], distances: [[10, 40], [40, 10]]}")
    assert (far.distance(0, 1), far.label) == (40, "2n1l1c1t:1/0@64")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("^{distances: [[10]]}", "p: found neither, expected either topology, a label such as 2n4l4c1t, or nodes"),
        ("^{topology: 1n1l1c1t, nodes: [{llcs: [1]}]}", "p: found both, expected either topology,"),
        ("{topology: 1n1l1c1t, ^threads: 2}", "p.threads: found 'threads', expected threads beside nodes only"),
        ("{nodes: ^[]}", "p.nodes: found an empty list, expected a list of NUMA nodes"),
        ("{nodes: [{llcs: [2]}, ^{}]}", "p.nodes[1]: found an empty mapping, expected llcs, memory, or both"),
        ("{nodes: [{llcs: [2, ^0]}]}", "p.nodes[0].llcs[1]: found 0, expected a whole number from 1 to 512"),
        ("{nodes: [{llcs: ^4}]}", "p.nodes[0].llcs: found 4, expected the cores of each LLC, such as [6, 2]"),
        ("{nodes: [{^cores: [4]}]}", "p.nodes[0].cores: found 'cores', expected one of llcs, memory"),
        ("{nodes: [{llcs: [2], memory: ^1000}]}", "memory: found 1000, expected whole MiB, such as 512M, or 0"),
        ("{nodes: [{llcs: [2], memory: ^max}]}", "memory: found 'max', expected whole MiB, such as 512M, or 0"),
        ("{nodes: ^[{memory: 64M}, {llcs: [2]}]}", "a possible machine: nodes of memory alone after those with LLCs"),
        ("{nodes: ^[{memory: 64M}]}", "found a list, expected a possible machine: at least one node with LLCs"),
        ("{nodes: ^[{llcs: [2], memory: 0}]}", "expected a possible machine: at least one node with memory"),
        ("{nodes: ^[{llcs: [2]}, {memory: 0}]}", "expected a possible machine: LLCs, or memory, in each node"),
        ("{nodes: ^[{llcs: [2]}, {memory: 8M}]}", "expected a possible machine: memory of 0, or of at least 16 MiB in"),
        ("{nodes: ^[{llcs: [400, 200]}]}", "expected a possible machine: 600 CPUs, expected at most 512"),
        ("{topology: 1n1l4c1t, offline: ^0-1}", "p.offline: found '0-1', expected a possible machine: CPU 0 cannot go"),
        ("{topology: 1n1l4c1t, offline: ^3-4}", "no CPUs 4 to be offline, expected some of 1-3"),
        ("^1n2l6c1t:6+2", "p: found '1n2l6c1t:6+2', expected NODESnLLCSlCOREScTHREADSt"),
    ],
)  # fmt: skip
def test_what_is_no_machine_is_told_with_its_place(body: str, expected: str) -> None:
    found, place = mistake(body)
    assert found.startswith(place + "presets.p")
    assert expected in found
