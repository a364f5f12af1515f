"""Two schedulers compared, on runs with chosen numbers."""

from __future__ import annotations

from typing import Any

import pytest

from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.stats.inference.verdicts import Word
from ktstr.stats.perf.duel import Comparison, Duel, compare
from ktstr.stats.perf.samples import CellRun
from tests.stats.perf.findings import gate
from tests.stats.perf.runs import run

TEN = range(1, 11)
A = {seed: 1000.0 + seed for seed in TEN}  # of the other: hardly any noise


def runs(scheduler: str, values: dict[int, float], metric: str = "iteration_rate", **changes: Any) -> list[CellRun]:
    return [run(seed, scheduler=scheduler, **changes, **{metric: value}) for seed, value in values.items()]


def duel(*members: list[CellRun], gates: tuple[PerfDeltaAssertion, ...] = (gate(),)) -> Duel:
    return Duel("pipe", "mine", "eevdf", gates, tuple(run for some in members for run in some))


def judged(*members: list[CellRun], gates: tuple[PerfDeltaAssertion, ...] = (gate(),)) -> Comparison:
    (comparison,) = compare([duel(*members, gates=gates)])
    return comparison


def scaled(factor: float) -> dict[int, float]:
    return {seed: value * factor for seed, value in A.items()}


def test_the_first_is_judged_against_the_second() -> None:
    found = judged(runs("eevdf", A), runs("mine", scaled(0.7)))
    assert (found.verdict, found.result.baseline, found.result.head) == ("fail", "eevdf", "mine")
    (one,) = found.result.findings
    assert (one.word, one.gates, one.better) == (Word.REGRESSED, True, "higher")
    assert one.verdict.center_a == 1005.5
    assert one.verdict.center_b == pytest.approx(703.85)
    assert found.result.failures[0].startswith("pipe/tiny/7.2/icount: iteration_rate regressed, -30")


@pytest.mark.parametrize(("factor", "word"), [(1.4, Word.IMPROVED), (1.0005, Word.SAME)])
def test_what_is_no_worse_passes(factor: float, word: Word) -> None:
    found = judged(runs("eevdf", A), runs("mine", scaled(factor)))
    assert (found.verdict, found.result.findings[0].word) == ("pass", word)


def test_the_declared_limit_decides_what_is_too_much() -> None:
    both = (runs("eevdf", A), runs("mine", scaled(0.9)))
    assert judged(*both, gates=(gate(max_regression_pct=5),)).verdict == "fail"
    assert judged(*both, gates=(gate(max_regression_pct=15),)).verdict == "pass"
    assert judged(*both, gates=(gate(max_regression_pct=5, direction="LowerBetter"),)).verdict == "pass"


def test_too_few_seeds_are_undecided_and_say_how_many_more() -> None:
    few = {seed: A[seed] for seed in (1, 2)}
    found = judged(runs("eevdf", few), runs("mine", {1: 700.0, 2: 720.0}))
    (one,) = found.result.findings
    assert (found.verdict, one.word) == ("pass", Word.UNDECIDED)
    assert one.verdict.more is not None and one.verdict.more >= 1


def test_without_limits_every_measured_metric_of_the_registry_is_judged_and_none_fails_it() -> None:
    a = [run(seed, scheduler="eevdf", iteration_rate=A[seed], total_phase_iterations=9.0, own=1.0) for seed in TEN]
    b = [run(seed, scheduler="mine", iteration_rate=A[seed] * 0.5, total_phase_iterations=1.0, own=2.0) for seed in TEN]
    found = judged(a, b, gates=())
    words = {one.verdict.metric: one.word for one in found.result.findings}
    assert found.verdict == "pass"
    assert words["iteration_rate"] is Word.REGRESSED
    assert {"total_phase_iterations", "own"}.isdisjoint(words)  # a component, and a metric nobody registered
    assert "total_migrations" in words  # a field of the sidecar


def test_a_gate_that_was_not_measured_is_inconclusive_and_says_why() -> None:
    found = judged(runs("eevdf", A), runs("mine", A, "worst_run_delay_us"))
    (left,) = found.result.unevaluated
    assert (found.verdict, left.why) == ("inconclusive", "not measured under mine")
    found = judged(runs("eevdf", A), runs("mine", A), gates=(gate(phase=3),))
    assert found.result.unevaluated[0].why == "not measured under eevdf in phase 3"


def test_a_gate_of_a_phase_is_judged_in_it() -> None:
    found = judged(runs("eevdf", A), runs("mine", scaled(0.7)), gates=(gate(phase=1),))
    assert (found.verdict, found.result.findings[0].phase) == ("fail", 1)


def test_one_scheduler_alone_is_not_compared() -> None:
    found = judged(runs("mine", A))
    assert (found.verdict, found.result.notes) == (
        "not compared",
        ("no cell of eevdf was selected: nothing to compare with",),
    )
    assert found.result.unevaluated[0].why == "no cell of eevdf was selected"


def test_runs_that_did_not_pass_are_left_out_and_counted() -> None:
    bad = [run(99, scheduler="mine", verdict="fail", iteration_rate=1.0)]
    found = judged(runs("eevdf", A), runs("mine", A), bad)
    assert found.verdict == "pass"
    assert [(side.side, side.runs, side.comparable, side.failed) for side in found.result.excluded] == [
        ("a", 10, 10, 0), ("b", 11, 10, 1),
    ]  # fmt: skip
    none = judged(runs("eevdf", A), bad)
    assert (none.verdict, none.result.unevaluated[0].why) == (
        "inconclusive",
        "no runs of both that passed and can be compared",
    )


@pytest.mark.parametrize("apart", [{"accel": "tcg"}, {"origin": "cold"}, {"kernel": "6.12"}, {"preset": "big"}])
def test_runs_of_another_kind_are_never_paired(apart: dict[str, str]) -> None:
    found = judged(runs("eevdf", A), runs("mine", scaled(0.5), **apart))
    assert (found.verdict, found.result.scenarios, found.result.findings) == ("inconclusive", 0, ())


def test_a_clone_that_booted_and_one_that_attached_are_alike_and_both_kinds_of_start_are_scenarios() -> None:
    clones = (runs("eevdf", A, origin="booted"), runs("mine", A, origin="attached"))
    boots = (runs("eevdf", A, origin="cold"), runs("mine", scaled(0.5), origin=None))
    found = judged(*clones, *boots)
    assert {one.verdict.scenario: one.word for one in found.result.findings} == {
        "pipe/tiny/7.2/icount (clone)": Word.SAME, "pipe/tiny/7.2/icount (cold)": Word.REGRESSED,
    }  # fmt: skip


def test_in_real_time_each_class_of_host_is_a_scenario_of_its_own_and_counted_instructions_are_alike_everywhere() -> (
    None
):
    apart = (runs("eevdf", A, accel="kvm"), runs("mine", scaled(0.5), accel="kvm", cpu="y"))
    assert (judged(*apart).verdict, judged(*apart).result.scenarios) == ("inconclusive", 0)
    counted = (runs("eevdf", A), runs("mine", scaled(0.5), cpu="y"))
    assert [one.verdict.scenario for one in judged(*counted).result.findings] == ["pipe/tiny/7.2/icount"]
    both = (*apart, runs("eevdf", scaled(0.5), accel="kvm", cpu="y"), runs("mine", A, accel="kvm"))
    found = {one.verdict.scenario: one.word for one in judged(*both).result.findings}
    assert list(found.values()) == [Word.SAME, Word.SAME]
    assert all(name.startswith("pipe/tiny/7.2/kvm (host ") for name in found) and len(found) == 2


def test_several_comparisons_are_judged_together_and_told_apart() -> None:
    worse, same = duel(runs("eevdf", A), runs("mine", scaled(0.5))), duel(runs("eevdf", A), runs("mine", A))
    assert [found.verdict for found in compare([worse, same])] == ["fail", "pass"]
    assert compare([]) == []


def test_rates_by_cpu_time_have_no_direction_under_counted_instructions_but_for_what_a_test_declares() -> None:
    metric = "iterations_per_cpu_sec"
    sides = [runs(name, scaled(factor), metric) for name, factor in (("mine", 0.5), ("eevdf", 1.0))]
    words = {one.verdict.metric: one.word for one in judged(*sides, gates=()).result.findings}
    assert words[metric] is Word.INFORMATIONAL
    [declared] = judged(*sides, gates=(gate(metric),)).result.findings
    assert declared.word is Word.REGRESSED
    real = [runs(name, scaled(factor), metric, accel="kvm") for name, factor in (("mine", 0.5), ("eevdf", 1.0))]
    assert {one.verdict.metric: one.word for one in judged(*real, gates=()).result.findings}[metric] is Word.REGRESSED
