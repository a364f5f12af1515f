from __future__ import annotations

from dataclasses import replace as replace_topology

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ktstr.config.topology import PRESETS, Node, Topology, of_nodes
from ktstr.record.guest import SILENT, GuestCpu, GuestNode, GuestRecord
from ktstr.vm.guest_topology import differences

# Written out: 2 nodes of 2 LLCs of 1 core of 2 threads.
TWO_NODES = Topology(2, 4, 1, 2)
CPUS = tuple(
    GuestCpu(cpu, node, package, llc, llc)
    for cpu, node, package, llc in [
        (0, 0, 0, (0, 1)),
        (1, 0, 0, (0, 1)),
        (2, 0, 0, (2, 3)),
        (3, 0, 0, (2, 3)),
        (4, 1, 1, (4, 5)),
        (5, 1, 1, (4, 5)),
        (6, 1, 1, (6, 7)),
        (7, 1, 1, (6, 7)),
    ]
)
SHOWN = replace(SILENT, cpus=CPUS, node_distances=((10, 20), (20, 10)))


def changed(cpu: int, **fields: object) -> GuestRecord:
    cpus = list(CPUS)
    cpus[cpu] = replace(cpus[cpu], **fields)
    return replace(SHOWN, cpus=tuple(cpus))


def test_a_guest_that_shows_what_was_declared_has_no_differences() -> None:
    assert differences(SHOWN, TWO_NODES, 512) == []


def test_package_numbers_are_the_guests_own() -> None:
    cpus = tuple(replace(cpu, package=7 - cpu.package) for cpu in CPUS)
    assert differences(replace(SHOWN, cpus=cpus), TWO_NODES, 512) == []


@pytest.mark.parametrize(
    ("guest", "expected"),
    [
        (changed(3, node=1), "NUMA node of CPU 3: the guest shows 1, declared 0"),
        (changed(5, llc_cpus=(4, 5, 6, 7)), "LLC of CPU 5: the guest shows 4-7, declared 4-5"),
        (changed(5, llc_cpus=()), "LLC of CPU 5: the guest shows none, declared 4-5"),
        (changed(6, smt_cpus=(6,)), "SMT siblings of CPU 6: the guest shows 6, declared 6-7"),
        (changed(7, package=0), "package of CPU 0: the guest shows 0-3,7, declared 0-3"),
        (replace(SHOWN, node_distances=()), "node distances: the guest shows none, declared 10 20 / 20 10"),
        (
            replace(SHOWN, node_distances=((10, 21), (21, 10))),
            "node distances: the guest shows 10 21 / 21 10, declared 10 20 / 20 10",
        ),
    ],
)
def test_each_difference_is_named(guest: GuestRecord, expected: str) -> None:
    assert any(text.startswith(expected) for text in differences(guest, TWO_NODES, 512))


UNLIKE = replace_topology(
    of_nodes([Node((1, 2)), Node((1,), 0), Node((), 64)]), distances=((10, 30, 50), (30, 10, 40), (50, 40, 10))
)
UNLIKE_SHOWN = replace(
    SILENT,
    cpus=tuple(
        GuestCpu(cpu, node, node, llc, (cpu,))
        for cpu, node, llc in [(0, 0, (0,)), (1, 0, (1, 2)), (2, 0, (1, 2)), (3, 1, (3,))]
    ),
    node_distances=((10, 30, 50), (30, 10, 40), (50, 40, 10)),
    nodes=(GuestNode(0, 511 << 10, (0,)), GuestNode(1, 0, ()), GuestNode(2, (64 << 10) - 128, (1,))),
    possible_cpus=(0, 1, 2, 3),
    present_cpus=(0, 1, 2, 3),
)


def with_node(number: int, **fields: object) -> GuestRecord:
    nodes = list(UNLIKE_SHOWN.nodes or ())
    nodes[number] = replace(nodes[number], **fields)
    return replace(UNLIKE_SHOWN, nodes=tuple(nodes))


def test_llcs_and_nodes_that_differ_are_as_declared() -> None:
    assert differences(UNLIKE_SHOWN, UNLIKE, 576) == []
    assert differences(UNLIKE_SHOWN, Topology.parse("3n3l2c1t:1+2/1/0"), 576) != []


@pytest.mark.parametrize(
    ("guest", "expected"),
    [
        (with_node(2, memory_kib=0), "memory of node 2: the guest shows 0 KiB, declared 64 MiB"),
        (with_node(2, memory_kib=55 << 10), "memory of node 2: the guest shows 56320 KiB, declared 64 MiB"),
        (with_node(1, memory_kib=4), "memory of node 1: the guest shows 4 KiB, declared 0 MiB"),
        (with_node(0, memory_kib=513 << 10), "memory of node 0: the guest shows 525312 KiB, declared 512 MiB"),
        (with_node(2, initiators=(0,)), "the node nearest to the memory of node 2: the guest shows 0, declared 1"),
        (replace(UNLIKE_SHOWN, nodes=(UNLIKE_SHOWN.nodes or ())[:2]), "NUMA nodes: the guest shows 0-1, declared 0-2"),
        (replace(UNLIKE_SHOWN, possible_cpus=(0, 1, 2, 3, 4)), "possible CPUs: the guest shows 0-4, declared 0-3"),
        (replace(UNLIKE_SHOWN, present_cpus=(0, 1)), "present CPUs: the guest shows 0-1, declared 0-3"),
    ],
)
def test_each_difference_of_nodes_and_lists_is_named(guest: GuestRecord, expected: str) -> None:
    assert differences(guest, UNLIKE, 576) == [expected]


def test_missing_and_surplus_cpus_are_named() -> None:
    assert differences(replace(SILENT, cpus=CPUS[:6]), TWO_NODES, 512) == ["CPUs: the guest shows 0-5, declared 0-7"]
    assert differences(replace(SILENT, cpus=CPUS), Topology(1, 1, 4, 1), 512) == [
        "CPUs: the guest shows 0-7, declared 0-3"
    ]
    assert differences(SILENT, TWO_NODES, 512) == ["CPUs: the guest shows none, declared 0-7"]


def test_how_many_cpus_are_wrong_is_said() -> None:
    cpus = tuple(replace(cpu, llc_cpus=tuple(range(8))) for cpu in CPUS)
    found = differences(replace(SHOWN, cpus=cpus), TWO_NODES, 512)
    assert found == ["LLC of CPU 0: the guest shows 0-7, declared 0-1 (and 7 more CPUs)"]


def test_a_kernel_without_numa_shows_no_distances_of_one_node() -> None:
    topology = Topology(1, 1, 1, 1)
    guest = replace(SILENT, cpus=(GuestCpu(0, 0, 0, (0,), (0,)),))
    assert differences(guest, topology, 512) == []


def test_a_long_list_from_the_guest_is_cut_short() -> None:
    every_other = tuple(range(0, 512, 2))
    text = differences(changed(0, llc_cpus=every_other), TWO_NODES, 512)[0]
    assert "..." in text
    assert len(text) < 200


@given(st.sampled_from(sorted(PRESETS.values())))
def test_a_guest_that_shows_a_preset_passes_for_that_preset_alone(label: str) -> None:
    topology = Topology.parse(label)
    cpus = tuple(
        GuestCpu(cpu, topology.node_of(cpu), topology.node_of(cpu), topology.llc_cpus(topology.llc_of(cpu)),
                 topology.smt_cpus(cpu))
        for cpu in range(topology.cpus)
    )  # fmt: skip
    nodes = range(topology.numa_nodes)
    guest = replace(SILENT, cpus=cpus, node_distances=tuple(tuple(10 if a == b else 20 for b in nodes) for a in nodes))
    passes = [other for other in set(PRESETS.values()) if not differences(guest, Topology.parse(other), 512)]
    assert passes == [label]
