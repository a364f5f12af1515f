"""What a machine has of a scenario that its CPUs decide: copies of a cgroup, workers, and their pins."""

from __future__ import annotations

import pytest

from ktstr.config.topology import Topology
from ktstr.scenarios.program import SetAffinity, flat
from tests.scenarios.scenarios import TINY, compiled, config

EIGHT = Topology.parse("1n2l4c1t")


@pytest.mark.parametrize(("topology", "names"), [(TINY, ["a_0", "a_1", "b"]), (EIGHT, ["a_0", "a_1", "a_2", "b"])])
def test_there_are_as_many_copies_as_the_usable_cpus_make(topology: Topology, names: list[str]) -> None:
    made = compiled("  cgroups: [{name: a, copies: {per_cpu: 0.67, max: 3}}, b]\n", topology)
    assert [cgroup.name for cgroup in made.program.cgroups] == names


def test_an_op_on_a_copy_that_is_not_there_is_left_out() -> None:
    text = """\
  backdrop: {cgroups: [{name: a, copies: {per_cpu: 1, max: 7}}]}
  steps:
    - ops:
        - {op: set_affinity, cgroup: a_2, affinity: single}
        - {op: set_affinity, cgroup: a_3, affinity: single}
"""

    def pinned(topology: Topology) -> int:
        return sum(isinstance(op, SetAffinity) for op in flat(compiled(text, topology).program.ops))

    assert (pinned(TINY), pinned(EIGHT)) == (1, 2)  # of three copies, and of seven


def test_workers_are_counted_by_the_cpus_that_their_cgroup_can_use() -> None:
    text = """\
  backdrop:
    cgroups:
      - {name: free, workers: {per_cpu: 2}}
      - {name: confined, workers: {per_cpu: 2, min: 1}, cpuset: {llc: 0}}
      - {name: pairs, work: PipeIo, workers: {per_cpu: 0.75}}
  steps:
    - ops: [{op: spawn_host, workers: {per_cpu: 0.25}}]
"""
    made = compiled(text, EIGHT)
    assert [(work.cgroup, work.workers) for work in made.works] == [
        ("free", 16), ("confined", 8), ("pairs", 6), ("", 2),
    ]  # fmt: skip
    assert [work.workers for work in compiled(text, TINY).works] == [8, 4, 4, 1]  # three of a pair are two pairs


def test_pins_spread_over_the_cpus_of_all_copies_and_the_lowest_are_as_many_as_wanted() -> None:
    text = """\
  cgroups:
    - {name: a, copies: 3, workers: 2, affinity: spread}
    - {name: b, affinity: {lowest: 2}, cpuset: {llc: 1}}
"""
    works = compiled(text, TINY).program.works
    assert [[worker.affinity for worker in work.workers] for work in works[:3]] == [
        [(0,), (1,)], [(2,), (3,)], [(0,), (1,)],
    ]  # fmt: skip
    assert works[3].affinity == (2, 3)


def test_the_cpu_controller_is_on_unless_it_is_said_to_be_off() -> None:
    assert compiled("  cgroups: [a]\n").program.cpu_controller
    assert not compiled("  cpu_controller: false\n  cgroups: [a]\n").program.cpu_controller


def test_what_decides_is_the_machine_and_not_the_declaration() -> None:
    declared = config("  cgroups: [{name: a, copies: {per_cpu: 1, max: 64}}]\n").tests["t"]
    assert len(declared.cgroups) == 64
