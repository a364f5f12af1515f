from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.topology import PRESETS, Node, Topology, of_nodes
from ktstr.errors import InputError
from ktstr.vm.memory import memory_mib, nodes_mib


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


def test_nodes_have_what_they_are_given_beside_what_the_others_share() -> None:
    topology = of_nodes([Node((2,)), Node((2,)), Node((1,), 0), Node((), 100)])
    total = memory_mib(topology, 1030)
    assert (total, nodes_mib(topology, total)) == (1132, (516, 516, 0, 100))
    with pytest.raises(ValueError, match="90 MiB cannot be dealt evenly to 2 NUMA nodes beside 100 MiB of others"):
        nodes_mib(topology, 90)


def test_nodes_that_are_all_given_too_little_are_refused() -> None:
    topology = of_nodes([Node((2,), 256), Node((), 254)])
    with pytest.raises(InputError, match="found 510 MiB of memory in all its nodes, expected at least 512 MiB"):
        memory_mib(topology)
    enough = of_nodes([Node((2,), 256), Node((), 258)])
    assert nodes_mib(enough, memory_mib(enough)) == (256, 258)


@given(st.sampled_from(sorted(PRESETS.values())), st.none() | st.integers(1, 1 << 20))
def test_every_node_gets_whole_large_pages(label: str, asked: int | None) -> None:
    topology = Topology.parse(label)
    total = memory_mib(topology, asked)
    assert total >= (asked or 0)
    shares = nodes_mib(topology, total)
    assert sum(shares) == total
    assert len(shares) == topology.numa_nodes
    assert len(set(shares)) == 1
    assert shares[0] % 2 == 0


@pytest.mark.parametrize("total", [0, 3, 513])
def test_memory_that_cannot_be_dealt_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match="cannot be dealt evenly to 2 NUMA nodes"):
        nodes_mib(Topology(2, 2, 1, 1), total)
