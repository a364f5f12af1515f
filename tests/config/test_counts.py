"""Numbers of workers and cgroups that the machine decides."""

from __future__ import annotations

import pytest

from ktstr.config.scenario import Copy, Count
from tests.config.declarations import mistake, test_of


@pytest.mark.parametrize(
    ("count", "cpus", "number"),
    [
        (Count(1, 1, 1024), 7, 7),
        (Count(0.5, 1, 1024), 7, 3),
        (Count(0.5, 1, 1024), 1, 1),
        (Count(3, 8, 1024), 2, 8),
        (Count(3, 8, 1024), 4, 12),
        (Count(1, 1, 64), 128, 64),
        (Count(0.1, 1, 64), 30, 3),  # which in floating point is 3.0000000000000004, and 0.7 * 10 is 7
        (Count(0.7, 1, 64), 10, 7),
    ],
)
def test_a_count_is_so_many_for_each_cpu_within_its_bounds(count: Count, cpus: int, number: int) -> None:
    assert count.of(cpus) == number


def test_workers_may_be_counted_by_cpus() -> None:
    made = test_of(
        "cgroups: [{name: a, workers: {per_cpu: 3, min: 8}}, {name: b, work: PipeIo, workers: {per_cpu: 1}}]"
    )
    one, pairs = (cgroup.works[0] for cgroup in made.cgroups)
    assert (one.workers, one.count) == (8, Count(3, 8, 1024))
    assert (pairs.workers, pairs.count) == (2, Count(1, 1, 1024))  # the least there can be of a pair


def test_copies_are_numbered_and_their_workers_spread_on() -> None:
    made = test_of("cgroups: [{name: a/b, copies: 3, workers: 2, affinity: spread}, c]")
    assert [cgroup.name for cgroup in made.cgroups] == ["a/b_0", "a/b_1", "a/b_2", "c"]
    assert [cgroup.works[0].affinity.number for cgroup in made.cgroups[:3]] == [0, 2, 4]  # type: ignore[union-attr]
    assert [cgroup.copy for cgroup in made.cgroups] == [None] * 4


def test_as_many_copies_as_there_can_be_know_when_they_are_there() -> None:
    made = test_of("cgroups: [{name: a, copies: {per_cpu: 0.5, max: 2}}]")
    count = Count(0.5, 1, 2)
    assert [(cgroup.name, cgroup.copy) for cgroup in made.cgroups] == [("a_0", Copy(0, count)), ("a_1", Copy(1, count))]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("workers: {per_cpu: ^0}", "workers.per_cpu: found 0, expected a number from 0.01 to 64"),
        ("workers: ^{min: 1}", "workers.per_cpu: found nothing, expected so many for each CPU that the cgroup can use,"
                               " rounded down"),
        ("workers: {^per_cup: 1, per_cpu: 1}",
         "workers.per_cup: found 'per_cup', expected one of per_cpu, min, max, nearest match 'per_cpu'"),
        ("workers: {per_cpu: 1, min: 4, max: ^2}", "workers.max: found 2, expected from 4 to 1024"),
        ("copies: {per_cpu: 1, max: ^65}", "copies.max: found 65, expected from 1 to 64"),
        ("copies: ^0", "copies: found 0, expected a whole number from 1 to 64"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_count(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"
