from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.topology import PRESETS, Node, Topology, of_nodes

# Node 0 has LLCs of one and of three cores, node 1 one of two cores; node 2 is memory alone.
UNLIKE = of_nodes([Node((1, 3)), Node((2,), 0), Node((), 512)], threads=2)


def test_cpus_are_numbered_llc_by_llc() -> None:
    assert UNLIKE.cpus == 12
    assert [UNLIKE.llc_cpus(llc) for llc in range(3)] == [(0, 1), (2, 3, 4, 5, 6, 7), (8, 9, 10, 11)]
    assert [UNLIKE.llc_of(cpu) for cpu in range(12)] == [0] * 2 + [1] * 6 + [2] * 4
    assert [UNLIKE.node_of(cpu) for cpu in range(12)] == [0] * 8 + [1] * 4
    assert [UNLIKE.node_cpus(node) for node in range(3)] == [tuple(range(8)), (8, 9, 10, 11), ()]
    assert UNLIKE.smt_cpus(5) == (4, 5)
    assert UNLIKE.usable_cpus == tuple(range(11))


def test_labels_of_all_forms_differ() -> None:
    assert UNLIKE.label == "3n3l3c2t:1+3/2@0/0@512"
    assert replace(UNLIKE, offline=(3, 5, 6)).label == "3n3l3c2t:1+3/2@0/0@512~3+5-6"


def test_the_nearest_node() -> None:
    far = replace(UNLIKE, distances=((10, 20, 50), (20, 10, 40), (50, 40, 10)))
    assert [far.nearest(node, far.cpu_nodes) for node in range(3)] == [(0,), (1,), (1,)]
    assert UNLIKE.nearest(2, UNLIKE.cpu_nodes) == (0, 1)


def test_the_last_cpu_that_is_online_is_kept_for_the_root() -> None:
    assert Topology(1, 1, 4, 1, offline=(3,)).usable_cpus == (0, 1)
    assert Topology(1, 1, 4, 1, offline=(2, 3)).usable_cpus == (0, 1)


@given(
    st.lists(st.builds(Node, st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
                       st.sampled_from([None, 0, 64])), min_size=1, max_size=4),
    st.lists(st.builds(Node, st.just(()), st.sampled_from([None, 64, 1024])), max_size=3),
    st.integers(1, 2),
    st.sets(st.integers(1, 5)),
)  # fmt: skip
def test_a_label_says_all_but_distances(nodes: list[Node], alone: list[Node], threads: int, offline: set[int]) -> None:
    topology = of_nodes([*nodes, *alone, Node((), 64)], threads)
    topology = replace(topology, offline=tuple(sorted(cpu for cpu in offline if cpu < topology.cpus)))
    assert Topology.parse(topology.label) == topology
    every = range(topology.cpus)
    assert [cpu for llc in range(topology.llcs) for cpu in topology.llc_cpus(llc)] == list(every)
    assert [cpu for node in range(topology.numa_nodes) for cpu in topology.node_cpus(node)] == list(every)
    assert all(cpu in topology.llc_cpus(topology.llc_of(cpu)) for cpu in every)


@given(st.sampled_from(sorted(PRESETS.values())))
def test_a_preset_is_the_same_node_by_node(label: str) -> None:
    topology = Topology.parse(label)
    assert topology.is_plain
    each = topology.llcs // topology.numa_nodes
    assert of_nodes([Node((topology.cores,) * each)] * topology.numa_nodes, topology.threads) == topology


@pytest.mark.parametrize(
    "label", ["1n2l6c1t:6+1+1", "1n2l6c1t:6/2", "1n2l2c1t:2+2", "1n1l1c1t~0", "1n1l2c1t~", "x", ""]
)
def test_a_label_that_no_topology_has_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="topology"):
        Topology.parse(label)
