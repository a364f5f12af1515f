from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.scenario import Cpuset
from tests.config.declarations import mistake, test_of


def test_what_a_test_says_of_its_machine() -> None:
    test = test_of("""
cgroups: [a]
topology: tiny-2llc
offline: {exact: [3, 5]}
isolcpus: {cpus: {numa: 1}, flags: [nohz, domain]}
nohz_full: {llc: 1}
rcu_nocbs: {range: [0.5, 1]}
irqaffinity: {exact: 0}
host_only: true
include_files: [data/x.json, ./y]
""")
    assert (test.topology, test.host_only) == ("tiny-2llc", True)
    assert test.offline == Cpuset("exact", (3, 5))
    assert test.cpu_kargs == (
        ("isolcpus", Cpuset("numa", (1,))),
        ("nohz_full", Cpuset("llc", (1,))),
        ("rcu_nocbs", Cpuset("range", (0.5, 1))),
        ("irqaffinity", Cpuset("exact", (0,))),
    )
    assert test.isolcpus_flags == ("domain", "nohz")
    assert (test.include_files, test.base) == (("data/x.json", "y"), Path("/p"))


def test_isolcpus_may_be_a_cpuset_alone() -> None:
    test = test_of("cgroups: [a]\nisolcpus: {llc: 1}")
    assert (test.cpu_kargs, test.isolcpus_flags) == ((("isolcpus", Cpuset("llc", (1,))),), ())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("topology: ^tiny-1lc",
         "topology: found 'tiny-1lc', expected a label such as 2n4l4c1t, or one of the presets (tiny-1llc, tiny-2llc,"
         " odd-3llc, odd-5llc, odd-7llc, smt-2llc, smt-3llc, medium-4llc, medium-8llc, large-4llc, large-8llc,"
         " near-max-llc, ...), nearest match 'tiny-1llc'"),
        ("topology: ^2n3l2c1t",
         "topology: found '2n3l2c1t', expected a possible machine: 3 LLCs cannot be dealt evenly to 2 NUMA nodes;"
         " expected LLCs to be a multiple of nodes"),
        ("offline: {exact: ^0-1}",
         "offline.exact: found CPU 0, expected CPUs other than CPU 0, which cannot go offline"),
        ("offline: ^3",
         "offline: found 3, expected a mapping with one of llc, numa, range, disjoint, overlap, exact, except"),
        ("isolcpus: ^{flags: [nohz]}", "isolcpus.cpus: found nothing, expected the CPUs"),
        ("isolcpus: {cpus: {llc: 1}, flags: [^nohzz]}",
         "isolcpus.flags[0]: found 'nohzz', expected one of domain, managed_irq, nohz, nearest match 'nohz'"),
        ("kargs: [nohz_full=1]\n^nohz_full: {llc: 0}",
         "nohz_full: found 'nohz_full', expected nohz_full here or in kargs, not in both"),
        ("rcu_nocbs: ^{cpus: {llc: 0}, flags: [nohz]}",
         "rcu_nocbs: found 2 keys, expected exactly one of llc, numa, range, disjoint, overlap, exact, except"),
        ("include_files: [^../x]", "include_files[0]: found '../x', expected a path inside this file's folder"),
        ("workers_per_cgroup: ^0", "workers_per_cgroup: found 0, expected a whole number from 1 to 1024"),
        ("cleanup_budget: ^5", "cleanup_budget: found 5, expected a duration with its unit, such as 2s, 500ms or 100us,"
         " nearest match '5s'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_test(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [a]\n{written}")
    assert found == f"{place}tests.t.{expected}"
