from __future__ import annotations

import pytest

from ktstr.config.scenario import Cgroup, Cpuset, Work
from tests.config.declarations import mistake, test_of

SPIN = (Work(),)
BELOW = "no workers or settings below a, which has workers itself (workers: 0 gives it none)"


def cgroups(body: str) -> tuple[Cgroup, ...]:
    return test_of(f"cgroups:\n{body}").cgroups


def test_a_name_is_a_cgroup_with_the_test_s_workers() -> None:
    assert cgroups("  - a\n  - 6.10\n") == (Cgroup("a", SPIN), Cgroup("6.10", SPIN))
    (made,) = test_of("workers_per_cgroup: 5\ncgroups: [a]").cgroups
    assert made.works == (Work(workers=5),)


def test_workers_per_cgroup_is_what_every_work_has_that_says_nothing() -> None:
    body = "workers_per_cgroup: 3\ncgroups: [{name: a}, {name: b, workers: 1}, {name: c, works: [{}, {workers: 4}]}]"
    made = test_of(body).cgroups
    assert [[work.workers for work in cgroup.works] for cgroup in made] == [[3], [1], [3, 4]]


def test_a_cgroup_is_nested_by_its_path_and_may_be_empty() -> None:
    assert cgroups("  - {name: a, workers: 0}\n  - a/b/c\n") == (Cgroup("a"), Cgroup("a/b/c", SPIN))


def test_a_parent_may_stand_after_its_child() -> None:
    assert [made.name for made in cgroups("  - a/b\n  - {name: a, workers: 0}\n")] == ["a/b", "a"]


def test_every_key_of_a_cgroup() -> None:
    (made,) = cgroups("  - {name: a, cpuset: {llc: 0}, expect_cpuset: {numa: 1}, mems: [0, 2], pids.max: 20}\n")
    assert made == Cgroup("a", SPIN, Cpuset("llc", (0,)), Cpuset("numa", (1,)), (0, 2), (("pids.max", "20"),))
    assert made.where == "ktstr.yaml:6:9 tests.t.cgroups[0]"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[^a b]",
         "[0]: found 'a b', expected a name of up to 64 letters, digits, '_', '.' and '-', or up to 8 of them joined by"
         " '/'"),
        ("[^[a]]", "[0]: found a list, expected a mapping"),
        ("[{name: ^a//b}]",
         "[0].name: found 'a//b', expected a name of up to 64 letters, digits, '_', '.' and '-', or up to 8 of them"
         " joined by '/'"),
        ("[{name: ^a/b/c/d/e/f/g/h/i}]",
         "[0].name: found 'a/b/c/d/e/f/g/h/i', expected a name of up to 64 letters, digits, '_', '.' and '-', or up to"
         " 8 of them joined by '/'"),
        ("[{name: ^a/cgroup.procs}]",
         "[0].name: found 'a/cgroup.procs', expected a name that does not begin with 'cgroup.'"),
        ("[{name: ^" + "/".join(["a" * 60] * 5) + "}]",
         "[0].name: found a path of 304, expected at most 255 characters"),
        ("[{name: a, mems: ^64}]", "[0].mems: found 64, expected numbers of nodes below 64, such as [0, 1]"),
        ("[{name: a, mems: [0, ^x]}]", "[0].mems[1]: found 'x', expected numbers of nodes below 64, such as [0, 1]"),
        ("[{name: a, mems: [0, 1], mem_policy: ^{bind: [1, 2]}}]",
         "[0].mem_policy: found nodes 2, expected nodes of the cgroup's mems (0, 1)"),
        ("[{name: a, mems: 0, works: [{}, {mem_policy: ^{preferred: 1}}]}]",
         "[0].works[1].mem_policy: found nodes 1, expected nodes of the cgroup's mems (0)"),
        ("[a, ^a]", "[1]: found 'a', expected each cgroup name once in a test"),
        ("[{name: a}, ^a/b]", f"[1]: found 'a/b', expected {BELOW}"),
        ("[{name: ^a/b}, a]", f"[0].name: found 'a/b', expected {BELOW}"),
        ("[a, {name: ^a/b/c, workers: 0, cpuset: {llc: 0}}]", f"[1].name: found 'a/b/c', expected {BELOW}"),
        ("[a, {name: ^a/b, workers: 0, mems: 0}]", f"[1].name: found 'a/b', expected {BELOW}"),
        ("[a, {name: ^a/b, workers: 0, pids.max: 9}]", f"[1].name: found 'a/b', expected {BELOW}"),
    ],
)  # fmt: skip
def test_a_mistake_in_cgroups(body: str, expected: str) -> None:
    found, place = mistake(f"cgroups: {body}")
    assert found == f"{place}tests.t.cgroups{expected}"


def test_a_child_without_workers_or_settings_may_be_below_workers() -> None:
    assert [made.name for made in cgroups("  - a\n  - {name: a/b, workers: 0}\n")] == ["a", "a/b"]


def test_flags_make_nodes_of_a_policy_mean_others_than_the_cgroup_s() -> None:
    (made,) = cgroups("  - {name: a, mems: 0, mem_policy: {bind: 1}, mem_flags: relative_nodes}\n")
    assert made.works[0].mem_policy is not None
