from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ktstr.config.scenario import Cpuset
from ktstr.config.topology import Node, Topology, of_nodes
from ktstr.errors import InputError
from ktstr.scenarios.cpusets import resolve

WHERE = "ktstr.yaml:3:9 tests.t.cgroups[0].cpuset"
NUMA = Topology.parse("2n4l2c1t")  # 8 CPUs, LLCs of 2, nodes of 4; 7 usable
TINY = Topology.parse("1n1l4c1t")  # 4 CPUs, 3 usable


def cpuset(kind: str, *args: float) -> Cpuset:
    return Cpuset(kind, args, WHERE)  # type: ignore[arg-type]


UNLIKE = replace(of_nodes([Node((2, 1)), Node((2,), 0), Node((), 64)]), offline=(1, 4))  # LLCs of 2, 1 and 2


@pytest.mark.parametrize(
    ("declared", "cpus"),
    [
        (cpuset("llc", 0), (0,)),
        (cpuset("llc", 1), (2,)),
        (cpuset("numa", 0), (0, 2)),
        (cpuset("numa", 1), (3,)),
        (cpuset("range", 0.0, 1.0), (0, 2)),  # 0, 2 and 3 are online, the last is the root's
        (cpuset("exact", 1, 2), (1, 2)),  # as written: what is offline is refused where it is used
    ],
)
def test_of_llcs_that_differ_those_that_are_online(declared: Cpuset, cpus: tuple[int, ...]) -> None:
    assert resolve(declared, UNLIKE) == cpus


def test_a_node_of_memory_alone_or_with_all_cpus_offline_is_no_cpuset() -> None:
    with pytest.raises(InputError, match="numa: found a node without CPUs, expected one with CPUs that are online"):
        resolve(cpuset("numa", 2), UNLIKE)
    with pytest.raises(InputError, match="llc: found CPUs 2, which are offline"):
        resolve(cpuset("llc", 1), replace(UNLIKE, offline=(2,)))


@pytest.mark.parametrize(
    ("declared", "cpus"),
    [
        (cpuset("llc", 0), (0, 1)),
        (cpuset("llc", 3), (6, 7)),
        (cpuset("numa", 1), (4, 5, 6, 7)),
        (cpuset("range", 0.0, 0.5), (0, 1, 2)),  # floor(7 * 0.5) = 3
        (cpuset("range", 0.5, 1.0), (3, 4, 5, 6)),
        (cpuset("range", 0.25, 0.75), (1, 2, 3, 4)),  # floor(1.75) = 1, floor(5.25) = 5
        (cpuset("disjoint", 0, 2), (0, 1, 2)),
        (cpuset("disjoint", 1, 2), (3, 4, 5, 6)),  # the last takes the remainder
        (cpuset("disjoint", 2, 3), (4, 5, 6)),
        (cpuset("overlap", 0, 2, 0.5), (0, 1, 2, 3)),  # chunk 3, widened by floor(1.5) = 1 on inner sides
        (cpuset("overlap", 1, 2, 0.5), (2, 3, 4, 5, 6)),
        (cpuset("overlap", 1, 3, 1.0), (0, 1, 2, 3, 4, 5)),
        (cpuset("exact", 0, 5, 7), (0, 5, 7)),  # exact may name the reserved CPU
    ],
)
def test_each_form_on_eight_cpus(declared: Cpuset, cpus: tuple[int, ...]) -> None:
    assert resolve(declared, NUMA) == cpus


@pytest.mark.parametrize(
    ("declared", "cpus"),
    [
        (Cpuset("range", (0.0, 0.5), WHERE, cpuset("llc", 1)), (2,)),
        (Cpuset("range", (0.5, 1.0), WHERE, cpuset("numa", 1)), (6, 7)),
        (Cpuset("range", (0.75, 1.0), WHERE, cpuset("all")), (6, 7)),  # the last one too, which usable CPUs are without
        (Cpuset("disjoint", (1, 2), WHERE, cpuset("numa", 0)), (2, 3)),
        (Cpuset("overlap", (0, 2, 0.5), WHERE, cpuset("all")), (0, 1, 2, 3, 4, 5)),
        (Cpuset("except", (), WHERE, cpuset("llc", 1)), (0, 1, 4, 5, 6)),
        (Cpuset("except", (), WHERE, Cpuset("range", (0.0, 0.5), WHERE, cpuset("llc", 0))), (1, 2, 3, 4, 5, 6)),
    ],
)
def test_a_form_within_another_and_what_is_left(declared: Cpuset, cpus: tuple[int, ...]) -> None:
    assert resolve(declared, NUMA) == cpus


def test_two_cpus_are_all_usable() -> None:
    pair = Topology.parse("1n1l2c1t")
    assert [resolve(cpuset("disjoint", i, 2), pair) for i in (0, 1)] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            Cpuset("except", (), WHERE, cpuset("numa", 0)),
            f"{WHERE}.except: found no usable CPU but 0-3, expected at least one (topology 1n1l4c1t: 4 CPUs, 3 usable)",
        ),
        (
            Cpuset("disjoint", (0, 5), WHERE, cpuset("all")),
            f"{WHERE}.disjoint: found 5 parts, expected at most one per CPU of 0-3"
            " (topology 1n1l4c1t: 4 CPUs, 3 usable)",
        ),
        (
            cpuset("llc", 1),
            f"{WHERE}.llc: found LLC 1, expected 0 to 0 (topology 1n1l4c1t: 4 CPUs, 3 usable)\n"
            "  fix: constrain the test: constraints: {min_llcs: 2}",
        ),
        (
            cpuset("numa", 1),
            f"{WHERE}.numa: found NUMA node 1, expected 0 to 0 (topology 1n1l4c1t: 4 CPUs, 3 usable)\n"
            "  fix: constrain the test: constraints: {min_numa_nodes: 2}",
        ),
        (
            cpuset("exact", 2, 4, 5, 9),
            f"{WHERE}.exact: found CPUs 4-5,9, expected CPUs 0-3 (topology 1n1l4c1t: 4 CPUs, 3 usable)",
        ),
        (cpuset("exact"), f"{WHERE}.exact: found no CPU, expected CPUs 0-3 (topology 1n1l4c1t: 4 CPUs, 3 usable)"),
        (
            cpuset("range", 0.0, 0.3),
            f"{WHERE}.range: found no CPU in [0, 0.3], expected at least one (topology 1n1l4c1t: 4 CPUs, 3 usable)",
        ),
        (
            cpuset("disjoint", 0, 4),
            f"{WHERE}.disjoint: found 4 parts, expected at most one per usable CPU"
            " (topology 1n1l4c1t: 4 CPUs, 3 usable)",
        ),
        (cpuset("disjoint", 2, 2), f"{WHERE}.disjoint: found index 2 of 2 parts, expected an index below 2"),
        (cpuset("overlap", 0, 2, 1.5), f"{WHERE}.overlap: found the fraction 1.5, expected 0 to 1"),
        (cpuset("range", 0.5, 0.5), f"{WHERE}.range: found [0.5, 0.5], expected 0 <= from < to <= 1"),
        (cpuset("range", float("nan"), 1), f"{WHERE}.range: found [nan, 1], expected 0 <= from < to <= 1"),
    ],
)
def test_what_a_machine_does_not_have_is_told_with_its_place(declared: Cpuset, message: str) -> None:
    with pytest.raises(InputError) as err:
        resolve(declared, TINY)
    assert str(err.value) == message


TOPOLOGIES = st.builds(
    lambda n, per, c, t: Topology(n, n * per, c, t),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 2),
)


@given(TOPOLOGIES, st.integers(1, 12))
def test_disjoint_parts_are_disjoint_and_cover_the_usable_cpus(topology: Topology, of: int) -> None:
    assume(of <= len(topology.usable_cpus))
    parts = [resolve(cpuset("disjoint", i, of), topology) for i in range(of)]
    assert [cpu for part in parts for cpu in part] == list(topology.usable_cpus)
    assert all(len(part) == len(parts[0]) for part in parts[:-1])
    assert len(parts[-1]) - len(parts[0]) < of


@given(TOPOLOGIES, st.integers(1, 12), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_overlap_shares_twice_the_widening_between_neighbours(topology: Topology, of: int, frac: float) -> None:
    usable = topology.usable_cpus
    assume(of <= len(usable))
    plain = [set(resolve(cpuset("disjoint", i, of), topology)) for i in range(of)]
    wide = [set(resolve(cpuset("overlap", i, of, frac), topology)) for i in range(of)]
    widen = int(len(usable) // of * frac)
    for i in range(of):
        inner_sides = (i > 0) + (i < of - 1)
        assert plain[i] <= wide[i] <= set(usable)
        assert len(wide[i]) == len(plain[i]) + widen * inner_sides
    assert all(len(a & b) == 2 * widen for a, b in pairwise(wide))


@given(TOPOLOGIES)
def test_llcs_and_nodes_partition_all_cpus(topology: Topology) -> None:
    llcs = [cpu for i in range(topology.llcs) for cpu in resolve(cpuset("llc", i), topology)]
    nodes = [cpu for i in range(topology.numa_nodes) for cpu in resolve(cpuset("numa", i), topology)]
    assert llcs == nodes == list(range(topology.cpus))


@given(TOPOLOGIES, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_ranges_that_meet_neither_overlap_nor_leave_a_gap(topology: Topology, a: float, b: float, c: float) -> None:
    low, mid, high = sorted((a, b, c))
    assume(low < mid < high)
    n = len(topology.usable_cpus)
    assume(int(n * low) < int(n * mid) < int(n * high))
    parts = [resolve(cpuset("range", low, mid), topology), resolve(cpuset("range", mid, high), topology)]
    assert parts[0] + parts[1] == resolve(cpuset("range", low, high), topology)
