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
        ("spread", Affinity("spread")),
        ("{lowest: 2}", Affinity("lowest", number=2)),
        (
            "{range: [0, 0.5], within: {llc: 0}}",
            Affinity("cpuset", (Cpuset("range", (0, 0.5), inner=Cpuset("llc", (0,))),)),
        ),
        ("{disjoint: [0, 2], within: all}", Affinity("cpuset", (Cpuset("disjoint", (0, 2), inner=Cpuset("all")),))),
        ("{except: {exact: 0-2}}", Affinity("cpuset", (Cpuset("except", inner=Cpuset("exact", (0, 1, 2))),))),
        ("{each: [[0, 3]]}", Affinity("each", (Cpuset("exact", (0, 3)),))),
    ],
)
def test_affinity_forms(written: str, affinity: Affinity) -> None:
    assert work(f"affinity: {written}").affinity == affinity


AFFINITY = (
    "a CPU list such as 0-3, a cpuset form, {each: [...]}, {lowest: 2}, or one of random, llc_aligned, single, spread,"
    " all"
)


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
        ("affinity: {lowest: ^0}", "affinity.lowest: found 0, expected a whole number from 1 to 512"),
        ("affinity: {lowest: 2, ^llc: 0}", "affinity.llc: found 'llc', expected nothing beside lowest"),
        ("cpuset: {llc: 0, ^within: all}",
         "cpuset.within: found 'within', expected within only beside range, disjoint, overlap"),
        ("cpuset: ^{within: all}",
         "cpuset: found 0 keys, expected exactly one of llc, numa, range, disjoint, overlap, exact, except"),
        ("cpuset: {range: [0, 1], within: ^most}",
         "cpuset.within: found 'most', expected a mapping with one of llc, numa, range, disjoint, overlap, exact,"
         " except"),
        ("cpuset: {except: {^lcc: 0}}",
         "cpuset.except.lcc: found 'lcc', expected one of llc, numa, range, disjoint, overlap, exact, except, nearest"
         " match 'llc'"),
        ("affinity: {^lcc: 0}",
         "affinity.lcc: found 'lcc', expected one of llc, numa, range, disjoint, overlap, exact, except, nearest match"
         " 'llc'"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_affinity(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"
