from __future__ import annotations

import pytest

from ktstr.config.scenario import Affinity, Cpuset, Work
from tests.config.declarations import mistake, test_of


def work(written: str) -> Work:
    return test_of(f"cgroups: [{{name: a, {written}}}]").cgroups[0].works[0]


@pytest.mark.parametrize(
    ("written", "affinity"),
    [
        ("0-2", Affinity("cpuset", (Cpuset("exact", (0, 1, 2)),))),
        ("[0, 2-3]", Affinity("cpuset", (Cpuset("exact", (0, 2, 3)),))),
        ("{llc: 0}", Affinity("cpuset", (Cpuset("llc", (0,)),))),
        ("{range: [0, 0.5]}", Affinity("cpuset", (Cpuset("range", (0, 0.5)),))),
        ("random", Affinity("random")),
        ("llc_aligned", Affinity("llc_aligned")),
        ("single", Affinity("single")),
        ("all", Affinity("all")),
        ("{each: [0-1, {llc: 1}]}", Affinity("each", (Cpuset("exact", (0, 1)), Cpuset("llc", (1,))))),
        ("{each: [[0, 3]]}", Affinity("each", (Cpuset("exact", (0, 3)),))),
    ],
)
def test_affinity_forms(written: str, affinity: Affinity) -> None:
    assert work(f"affinity: {written}").affinity == affinity


AFFINITY = "a CPU list such as 0-3, a cpuset form, {each: [...]}, or one of random, llc_aligned, single, all"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("affinity: ^randm", f"affinity: found 'randm', expected {AFFINITY}, nearest match 'random'"),
        ("affinity: {each: ^[]}",
         "affinity.each: found an empty list, expected a list of CPU lists or cpuset forms, one for each worker"),
        ("affinity: {each: [0, ^x]}", "affinity.each[1]: found 'x', expected a CPU list, such as 0-3,5"),
        ("affinity: {each: [0], ^llc: 0}", "affinity.llc: found 'llc', expected nothing beside each"),
        ("affinity: ^{each: [0, 1, 2]}",
         "affinity.each: found 3, expected at most as many as there are workers (2)"),
        ("affinity: {^lcc: 0}",
         "affinity.lcc: found 'lcc', expected one of llc, numa, range, disjoint, overlap, exact, nearest match 'llc'"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_affinity(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"
