from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ktstr.config.topology import PRESETS, Topology
from ktstr.record.guest import SILENT, GuestCpu, GuestRecord
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
    assert differences(SHOWN, TWO_NODES) == []


def test_package_numbers_are_the_guests_own() -> None:
    cpus = tuple(replace(cpu, package=7 - cpu.package) for cpu in CPUS)
    assert differences(replace(SHOWN, cpus=cpus), TWO_NODES) == []


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
    assert any(text.startswith(expected) for text in differences(guest, TWO_NODES))


def test_missing_and_surplus_cpus_are_named() -> None:
    assert differences(replace(SILENT, cpus=CPUS[:6]), TWO_NODES) == ["CPUs: the guest shows 0-5, declared 0-7"]
    assert differences(replace(SILENT, cpus=CPUS), Topology(1, 1, 4, 1)) == ["CPUs: the guest shows 0-7, declared 0-3"]
    assert differences(SILENT, TWO_NODES) == ["CPUs: the guest shows none, declared 0-7"]


def test_how_many_cpus_are_wrong_is_said() -> None:
    cpus = tuple(replace(cpu, llc_cpus=tuple(range(8))) for cpu in CPUS)
    found = differences(replace(SHOWN, cpus=cpus), TWO_NODES)
    assert found == ["LLC of CPU 0: the guest shows 0-7, declared 0-1 (and 7 more CPUs)"]


def test_a_kernel_without_numa_shows_no_distances_of_one_node() -> None:
    topology = Topology(1, 1, 1, 1)
    guest = replace(SILENT, cpus=(GuestCpu(0, 0, 0, (0,), (0,)),))
    assert differences(guest, topology) == []


def test_a_long_list_from_the_guest_is_cut_short() -> None:
    every_other = tuple(range(0, 512, 2))
    text = differences(changed(0, llc_cpus=every_other), TWO_NODES)[0]
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
    passes = [other for other in set(PRESETS.values()) if not differences(guest, Topology.parse(other))]
    assert passes == [label]
