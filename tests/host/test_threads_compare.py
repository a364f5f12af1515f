"""Two snapshots side by side."""

from __future__ import annotations

from typing import Any

import pytest

from ktstr.host.threads import Thread
from ktstr.host.threads_compare import MOST, Aggregate, Row, aggregate, compare, flattened, to_text
from tests.host.threads import counters, state, thread


def row_of(metric: str, old: list[Thread], new: list[Thread]) -> Row:
    (found,) = [row for row in compare(state(*old), state(*new)).rows if row.metric == metric]
    return found


def values(metric: str, *given: Any) -> Aggregate | None:
    return aggregate(metric, [thread(**{metric: value}) for value in given])


def test_counters_are_summed_and_stop_at_64_bits() -> None:
    assert values("minflt", 3, 4) == Aggregate("7", 7)
    assert values("minflt", MOST, 4) == Aggregate(str(2**64 - 1), 2**64 - 1)


def test_what_only_some_threads_have_is_summed_over_those_and_nothing_is_no_zero() -> None:
    assert values("minflt", None, 4) == Aggregate("4", 4)
    assert values("minflt", None, None) is None
    assert values("minflt", 0) == Aggregate("0", 0)


def test_nice_is_a_value_or_a_range_and_counts_as_its_middle() -> None:
    assert values("nice", 5, 5) == Aggregate("5", 5.0)
    assert values("nice", -20, 19) == Aggregate("-20..19", -0.5)


def test_the_policy_is_the_most_frequent_the_first_by_name_of_equals() -> None:
    assert values("policy", "SCHED_EXT", "SCHED_EXT") == Aggregate("SCHED_EXT", None)
    assert values("policy", "SCHED_EXT", "SCHED_FIFO", "SCHED_EXT") == Aggregate("SCHED_EXT (2/3)", None)
    assert values("policy", "SCHED_RR", "SCHED_EXT") == Aggregate("SCHED_EXT (1/2)", None)


def test_affinities_are_their_sizes_and_the_set_if_it_is_one() -> None:
    assert values("cpu_affinity", (0, 1, 2, 3, 8), (0, 1, 2, 3, 8)) == Aggregate("5 cpus (0-3,8)", 5.0)
    assert values("cpu_affinity", (0, 1), (2, 3)) == Aggregate("2 cpus (mixed)", 2.0)
    assert values("cpu_affinity", (0,), (0, 1, 2, 3)) == Aggregate("1-4 cpus (mixed)", 2.5)


def test_delta_is_candidate_minus_baseline_and_share_is_of_the_baseline() -> None:
    row = row_of("minflt", [thread(minflt=8)], [thread(minflt=10)])
    assert (row.delta, row.share) == (2, 0.25)
    assert row_of("minflt", [thread(minflt=0)], [thread(minflt=10)]).share is None


def test_rows_are_sorted_by_share_then_zero_baselines_count_a_billion_times_then_no_number() -> None:
    old = state(
        thread("half", minflt=10), thread("double", minflt=10), thread("zero", minflt=0), thread("same", minflt=5),
        thread("name", policy="SCHED_EXT"), thread("one", majflt=1),
    )  # fmt: skip
    new = state(
        thread("half", minflt=5), thread("double", minflt=20), thread("zero", minflt=1), thread("same", minflt=5),
        thread("name", policy="SCHED_RR"), thread("one"),
    )  # fmt: skip
    assert [row.group for row in compare(old, new).rows] == ["zero", "double", "half", "same", "name", "one"]


def test_ties_are_by_group_then_in_the_order_of_the_metrics() -> None:
    both = [thread("b", nice=0, minflt=1, cpu_affinity=(0,)), thread("a", minflt=1, policy="SCHED_EXT")]
    rows = compare(state(*both), state(*both)).rows
    assert [(row.group, row.metric) for row in rows] == [
        ("a", "minflt"), ("b", "nice"), ("b", "cpu_affinity"), ("b", "minflt"), ("a", "policy"),
    ]  # fmt: skip


@pytest.mark.parametrize(("group_by", "groups"), [("pcomm", {"p"}), ("comm", {"c1", "c2"}), ("cgroup", {"/x/1", "/y"})])
def test_threads_are_grouped_by_one_name_alone(group_by: str, groups: set[str]) -> None:
    both = state(
        thread(comm="c1", cgroup="/x/1", minflt=1),
        thread(comm="c2", cgroup="/x/1", minflt=1),
        thread(comm="c2", cgroup="/y", minflt=1),
    )
    assert {row.group for row in compare(both, both, group_by).rows} == groups


def test_the_first_glob_that_matches_replaces_a_cgroup() -> None:
    assert flattened("/user/7/x", ["/app/*", "/user/*", "*"]) == "/user/*"
    assert flattened("/user", ["/app/*"]) == "/user"
    assert flattened("/user", ["["]) == "/user"


def test_flattened_cgroups_sum_their_counters_and_keep_the_largest_memory() -> None:
    old = state(thread(cgroup="/a1"), thread(cgroup="/a2"), a1=counters(cpu_usage_usec=5, memory_current=7),
                a2=counters(cpu_usage_usec=6, memory_current=9))  # fmt: skip
    new = state(thread(cgroup="/a3"), a3=counters(cpu_usage_usec=20, memory_current=8))
    found = compare(old, new, "cgroup", ["/a*"])
    ((path, before, after),) = found.cgroups
    assert (path, before, after.cpu_usage_usec) == ("/a*", counters(cpu_usage_usec=11, memory_current=9), 20)
    assert " ".join(to_text(found).splitlines()[-1].split()) == "/a* 11 → 20 (+9) - - 9 → 8 (-1)"


def test_cgroups_have_a_table_only_when_they_are_the_groups() -> None:
    both = state(thread(cgroup="/a", minflt=1), a=counters(cpu_usage_usec=5))
    assert compare(both, both, "pcomm").cgroups == ()


def test_the_table_has_the_documented_columns() -> None:
    old = state(thread("a", run_time_ns=1000, policy="SCHED_EXT"), thread("a", run_time_ns=1000, policy="SCHED_EXT"))
    new = state(thread("a", run_time_ns=500, policy="SCHED_RR", rchar=1))
    assert to_text(compare(old, new)).splitlines() == [
        "group  threads  metric       baseline   candidate  delta        %",
        "a      2→1      run_time_ns  2000       500        -1500.000ns  -75.0%",
        "a      2→1      policy       SCHED_EXT  SCHED_RR   differs      -",
        "a      2→1      rchar        -          1          -            -",
    ]


def test_no_change_has_no_sign_but_plus() -> None:
    both = state(thread("a", nice=-5, policy="SCHED_EXT"))
    assert [line.split()[-2:] for line in to_text(compare(both, both)).splitlines()[1:]] == [
        ["+0.000", "+0.0%"], ["same", "-"],
    ]  # fmt: skip


def test_groups_of_one_side_are_listed_by_name_below() -> None:
    old = state(thread("b"), thread("a"))
    new = state(thread("n\x1b"), thread(""))
    assert to_text(compare(old, new)) == (
        "found no group that is in both\n\nonly in baseline:\n  a\n  b\n\nonly in candidate:\n  -\n  n?\n"
    )
