"""LLCs, nodes and distances, from sysfs trees written by hand after real machines."""

from __future__ import annotations

from pathlib import Path

from ktstr.host.cpu_topology import UNKNOWN_DISTANCE, read_topology
from tests.host.sysfs import write_host


def test_llcs_nodes_and_distances_are_those_of_sysfs(tmp_path: Path) -> None:
    write_host(tmp_path, llcs=[(0, "0-1,4-5"), (1, "2-3,6-7")], nodes={0: "0-1,4-5", 1: "2-3,6-7"})
    found = read_topology(tmp_path)
    assert [(llc.index, llc.cpus, llc.node) for llc in found.llcs] == [(0, (0, 1, 4, 5), 0), (1, (2, 3, 6, 7), 1)]
    assert found.cpus == tuple(range(8))
    assert (found.distance(0, 0), found.distance(0, 1), found.distance(None, 0)) == (10, 21, UNKNOWN_DISTANCE)


def test_llcs_are_in_order_of_their_ids_with_gaps_closed(tmp_path: Path) -> None:
    write_host(tmp_path, llcs=[(12, "0"), (4, "1"), (8, "2")], nodes={0: "0-2"})
    assert [(llc.index, llc.cpus) for llc in read_topology(tmp_path).llcs] == [(0, (1,)), (1, (2,)), (2, (0,))]


def test_a_cache_without_id_is_named_by_its_first_cpu(tmp_path: Path) -> None:
    write_host(tmp_path, llcs=[(None, "0-1"), (None, "2-3")], nodes={0: "0-3"})
    assert [llc.cpus for llc in read_topology(tmp_path).llcs] == [(0, 1), (2, 3)]


def test_a_host_without_cache_or_node_files_is_one_llc_of_unknown_node(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/online").write_text("0-3\n")
    found = read_topology(tmp_path)
    assert [(llc.cpus, llc.node) for llc in found.llcs] == [((0, 1, 2, 3), None)]


def test_an_llc_across_nodes_belongs_to_the_node_with_most_of_its_cpus(tmp_path: Path) -> None:
    write_host(tmp_path, llcs=[(0, "0-3")], nodes={0: "0", 1: "1-3"})
    assert read_topology(tmp_path).llcs[0].node == 1


def test_this_host_can_be_read() -> None:
    assert read_topology().cpus
