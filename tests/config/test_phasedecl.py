from __future__ import annotations

import pytest

from ktstr.config.scenario import Work
from ktstr.record.facts import PHASE_KINDS
from tests.config.declarations import HEAD, mistake, read, test_of

MS = 1_000_000
KINDS = ", ".join(PHASE_KINDS)


def work(written: str) -> Work:
    return test_of(f"cgroups: [{{name: a, {written}}}]").cgroups[0].works[0]


def test_phases_are_pairs_of_numbers_and_zeros_after_them() -> None:
    declared = work("work: Sequence, phases: [{spin: 10ms}, {sleep: 5ms}, {alu_hot: 1ms}, {yield: 2ms}, {io: 3ms}]")
    assert [name for name, _ in declared.params[:3]] == ["phase_1", "for_1_ns", "phase_2"]
    assert [value for _, value in declared.params] == [
        1, 10 * MS, 2, 5 * MS, 5, 1 * MS, 3, 2 * MS, 4, 3 * MS, *[0] * 6,
    ]  # fmt: skip


def test_phases_come_by_use_too() -> None:
    define = "define: {round: {work: Sequence, phases: [{spin: 1ms}]}}\n"
    test = read(f"{HEAD}{define}tests: {{t: {{cgroups: [{{name: a, use: round}}]}}}}\n").tests["t"]
    assert test.cgroups[0].works[0].params[:2] == (("phase_1", 1), ("for_1_ns", 1 * MS))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("work: ^Sequence", "work: found 'Sequence', expected phases beside it, such as [{spin: 10ms}, {sleep: 5ms}]"),
        ("^phases: [{spin: 1ms}]", "phases: found 'phases', expected phases only beside work: Sequence"),
        ("work: Sequence, phases: ^[]", "phases: found an empty list, expected a list of phases"),
        ("work: Sequence, phases: [^spin]",
         f"phases[0]: found 'spin', expected a mapping with one of {KINDS}: {{spin: 10ms}}, nearest match 'spin'"),
        ("work: Sequence, phases: [{spin: 1ms}, {^slep: 1ms}]",
         f"phases[1].slep: found 'slep', expected one of {KINDS}, nearest match 'sleep'"),
        ("work: Sequence, phases: [^{spin: 1ms, sleep: 1ms}]",
         f"phases[0]: found 2 keys, expected exactly one of {KINDS}"),
        ("work: Sequence, phases: [{io: ^0s}]", "phases[0].io: found '0s', expected from 1us to 3600s"),
        (f"work: Sequence, phases: ^[{', '.join(['{spin: 1ms}'] * 9)}]", "phases: found 9, expected at most 8 phases"),
    ],
)  # fmt: skip
def test_wrong_phases_are_named_with_their_place(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"
