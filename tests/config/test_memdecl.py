from __future__ import annotations

import pytest

from ktstr.config.scenario import MemPolicy, Work
from tests.config.declarations import mistake, test_of


def work(written: str) -> Work:
    return test_of(f"cgroups: [{{name: a, {written}}}]").cgroups[0].works[0]


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("mem_policy: local", MemPolicy("local")),
        ("mem_policy: {bind: [1, 0]}", MemPolicy("bind", (0, 1))),
        ("mem_policy: {preferred: 1}", MemPolicy("preferred", (1,))),
        ("mem_policy: {interleave: 0-2}", MemPolicy("interleave", (0, 1, 2))),
        ("mem_policy: {preferred_many: [0]}", MemPolicy("preferred_many", (0,))),
        ("mem_policy: {weighted_interleave: [0, 1]}", MemPolicy("weighted_interleave", (0, 1))),
        ("mem_policy: {bind: 0}, mem_flags: [numa_balancing, static_nodes]",
         MemPolicy("bind", (0,), ("static_nodes", "numa_balancing"))),
        ("mem_policy: {interleave: 0}, mem_flags: relative_nodes", MemPolicy("interleave", (0,), ("relative_nodes",))),
    ],
)  # fmt: skip
def test_memory_policies(written: str, policy: MemPolicy) -> None:
    made = work(written).mem_policy
    assert made == policy and made is not None and made.where.endswith("tests.t.cgroups[0].mem_policy")


MODES = "bind, preferred, interleave, preferred_many, weighted_interleave"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("mem_policy: ^locl", f"mem_policy: found 'locl', expected local, or a mapping with one of {MODES}, nearest"
         " match 'local'"),
        ("mem_policy: ^bind", f"mem_policy: found 'bind', expected local, or a mapping with one of {MODES}"),
        ("mem_policy: {^bnd: 0}", f"mem_policy.bnd: found 'bnd', expected one of {MODES}, nearest match 'bind'"),
        ("mem_policy: ^{bind: 0, interleave: 1}", f"mem_policy: found 2 keys, expected exactly one of {MODES}"),
        ("mem_policy: {preferred: ^[0, 1]}",
         "mem_policy.preferred: found 2 nodes, expected one node; preferred_many takes several"),
        ("mem_policy: {bind: ^64}",
         "mem_policy.bind: found 64, expected numbers of nodes below 64, such as [0, 1]"),
        ("^mem_flags: [static_nodes]", "mem_flags: found 'mem_flags', expected mem_flags only beside mem_policy"),
        ("mem_policy: {bind: 0}, mem_flags: ^[static_nodes, relative_nodes]",
         "mem_flags: found both, expected one of static_nodes and relative_nodes"),
        ("mem_policy: {bind: 0}, mem_flags: [^static]",
         "mem_flags[0]: found 'static', expected one of static_nodes, relative_nodes, numa_balancing"),
        ("mem_policy: {interleave: 0}, mem_flags: ^[numa_balancing]",
         "mem_flags: found it with interleave, expected numa_balancing only with bind or preferred_many"),
        ("mem_policy: local, mem_flags: ^[static_nodes]",
         "mem_flags: found static_nodes, expected no flags with local, which names no nodes"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_memory_policy(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"
