from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.topology import PRESETS, Topology
from ktstr.vm.memory import memory_mib, node_mib


@pytest.mark.parametrize(
    ("label", "asked", "expected"),
    [
        ("1n1l4c1t", None, 512),
        ("1n4l4c2t", None, 2048),
        ("1n14l9c2t", None, 16128),
        ("1n1l4c1t", 3000, 3000),
        ("1n1l4c1t", 128, 512),
        ("1n1l4c1t", 601, 602),
        ("4n4l1c1t", 601, 608),
        ("3n3l1c1t", None, 516),
    ],
)
def test_the_larger_of_what_the_cpus_need_and_what_was_asked(label: str, asked: int | None, expected: int) -> None:
    assert memory_mib(Topology.parse(label), asked) == expected


@pytest.mark.parametrize(
    ("label", "asked", "size", "expected"),
    [
        ("1n1l4c1t", None, 1, 514),  # a MiB begun, and a whole page for the node
        ("1n1l4c1t", None, 10 << 20, 672),
        ("1n4l4c2t", None, 10 << 20, 2208),
        ("1n1l4c1t", 600, 10 << 20, 672),
        ("1n1l4c1t", 800, 10 << 20, 800),
        ("2n2l2c1t", None, 35 << 20, 1072),
    ],
)
def test_a_scheduler_gets_sixteen_times_its_size_to_load_in(
    label: str, asked: int | None, size: int, expected: int
) -> None:
    assert memory_mib(Topology.parse(label), asked, size) == expected


def test_payloads_get_four_times_their_size_beside_the_scheduler() -> None:
    assert memory_mib(Topology(1, 1, 4, 1), None, 10 << 20, 10 << 20) == 512 + 160 + 40


@given(st.sampled_from(sorted(PRESETS.values())), st.none() | st.integers(1, 1 << 20))
def test_every_node_gets_whole_large_pages(label: str, asked: int | None) -> None:
    topology = Topology.parse(label)
    total = memory_mib(topology, asked)
    assert total >= (asked or 0)
    assert node_mib(topology, total) * topology.numa_nodes == total
    assert node_mib(topology, total) % 2 == 0


@pytest.mark.parametrize("total", [0, 3, 513])
def test_memory_that_cannot_be_dealt_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match="cannot be dealt evenly to 2 NUMA nodes"):
        node_mib(Topology(2, 2, 1, 1), total)
