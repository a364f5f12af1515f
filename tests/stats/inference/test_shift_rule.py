"""Our rule, word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.stats.inference import Gate, Rule, Sample, Settings, Word, decide, decided
from tests.stats.inference.samples import by_ranks, sample

LOW = [100.0, 101.0, 102.0, 103.0, 104.0]
HIGH = [110.0, 111.0, 112.0, 113.0, 114.0]


def test_clearly_apart_and_beyond_the_floor() -> None:
    verdict = by_ranks(sample(LOW, HIGH))
    assert verdict.word is Word.REGRESSED
    assert verdict.shift == 10
    assert verdict.p == pytest.approx(2 / 252)
    assert verdict.q == pytest.approx(2 / 252)
    assert verdict.floor == pytest.approx(0.02 * 102)
    assert (verdict.center_a, verdict.center_b) == (102, 112)
    assert verdict.shift_pct == pytest.approx(1000 / 102)
    assert verdict.more is None


def test_which_way_is_worse() -> None:
    assert by_ranks(sample(HIGH, LOW)).word is Word.IMPROVED
    assert by_ranks(sample(HIGH, LOW, polarity=-1)).word is Word.REGRESSED
    assert by_ranks(sample([-v for v in LOW], [-v for v in HIGH])).word is Word.IMPROVED


def test_apart_but_within_the_floor_is_the_same() -> None:
    verdict = by_ranks(sample(LOW, HIGH, floor_abs=15.0))
    assert verdict.word is Word.SAME
    assert verdict.q is None  # these values can never be a floor apart: nothing is paid for them
    assert verdict.p == pytest.approx(2 / 252)


def test_a_shift_of_exactly_the_floor_counts() -> None:
    assert by_ranks(sample(LOW, HIGH, floor_abs=10.0)).word is Word.REGRESSED
    assert by_ranks(sample(LOW, HIGH, floor_abs=10.001)).word is Word.UNDECIDED


def test_too_noisy_to_tell_is_undecided_and_says_how_many_more() -> None:
    random = np.random.default_rng(1)
    verdict = by_ranks(sample(random.normal(100, 10, 8).tolist(), random.normal(103, 10, 8).tolist()))
    assert verdict.word is Word.UNDECIDED
    assert verdict.more is not None and 20 < verdict.more <= 1000


@pytest.mark.parametrize(("n", "more"), [(2, 2), (3, 1)])
def test_below_four_runs_the_clearest_difference_is_undecided(n: int, more: int) -> None:
    verdict = by_ranks(sample(LOW[:n], [v + 1000 for v in LOW[:n]]))
    assert verdict.word is Word.UNDECIDED
    assert verdict.more == more
    assert verdict.ci_low is None and verdict.ci_high is None


def test_with_sixty_metrics_seven_runs_are_the_least() -> None:
    """One clear difference among 59 noisy metrics: 2 / C(14, 7) = 0.00058 is below 0.05 / 60, 2 / C(12, 6) is not."""
    random = np.random.default_rng(2)

    def clear(n: int) -> Word:
        noisy = [
            Sample("s", f"m{i}", random.normal(100, 30, n), random.normal(100, 30, n), 1, floor_rel=0.0)
            for i in range(59)
        ]
        first = sample([100.0 + i for i in range(n)], [200.0 + i for i in range(n)])
        verdict = decide([first, *noisy], Rule.RANKS, Settings())[0]
        assert verdict.more == (1 if n == 6 else None)
        return verdict.word

    assert clear(6) is Word.UNDECIDED
    assert clear(7) is Word.REGRESSED


def test_metrics_that_cannot_move_are_not_paid_for() -> None:
    """Fifty-nine metrics within their floors leave the sixtieth to itself: five runs are enough."""
    a, b = [100, 100.1, 100.2, 100.3, 100.4], [100.3, 100, 100.1, 100.2, 100.4]
    still = [sample(a, b, metric=f"m{i}") for i in range(59)]
    first, *rest = decide([sample(LOW, HIGH), *still], Rule.RANKS, Settings())
    assert first.word is Word.REGRESSED
    assert {v.word for v in rest} == {Word.SAME}
    assert {v.q for v in rest} == {None}


def test_equal_values_are_the_same_however_few_but_one() -> None:
    verdict = by_ranks(sample([7, 7], [7, 7, 7]))
    assert verdict.word is Word.SAME
    assert verdict.reason == "all values are equal"
    assert by_ranks(sample([0, 0], [0, 0])).word is Word.SAME


def test_one_run_tells_nothing() -> None:
    for a, b in (([7.0], [7.0]), (LOW, [500.0]), ([1.0], HIGH)):
        verdict = by_ranks(sample(a, b))
        assert verdict.word is Word.UNDECIDED
        assert verdict.reason == "a single run on a side"
        assert verdict.more == 3


@pytest.mark.parametrize(("a", "b", "side"), [([], LOW, "A"), (LOW, [], "B"), ([], [], "A and B")])
def test_nothing_measured_is_undecided_and_has_no_numbers(a: list[float], b: list[float], side: str) -> None:
    verdict = by_ranks(sample(a, b))
    assert verdict.word is Word.UNDECIDED
    assert verdict.reason == f"not measured on side {side}"
    assert (verdict.shift, verdict.p, verdict.q, verdict.more, verdict.ci_low) == (None,) * 5
    assert verdict.center_a == (102 if a else None)


def test_identical_inputs_are_the_same_whatever_was_measured() -> None:
    for a, b in ((LOW, LOW), ([1.0], [1.0]), ([], [])):
        verdict = by_ranks(sample(a, b, identical=True))
        assert verdict.word is Word.SAME
        assert verdict.reason == "identical inputs or result streams"


def test_without_a_direction_never_gates() -> None:
    verdict = by_ranks(sample(LOW, HIGH, polarity=0))
    assert verdict.word is Word.INFORMATIONAL
    assert verdict.q is None and verdict.more is None
    assert verdict.shift == 10
    assert by_ranks(sample(LOW, LOW, polarity=0, floor_abs=9.0)).word is Word.SAME
    assert by_ranks(sample([1], [2], polarity=0)).word is Word.INFORMATIONAL


def test_a_declared_gate_moves_the_floor_and_pins_the_direction() -> None:
    assert by_ranks(sample(LOW, HIGH, declared=Gate(max_regression_pct=20))).word is Word.SAME
    tight = by_ranks(sample(LOW, HIGH, floor_rel=0.5, declared=Gate(max_regression_pct=5)))
    assert tight.word is Word.REGRESSED and tight.declared
    assert by_ranks(sample(LOW, HIGH, polarity=0, declared=Gate(direction=1))).word is Word.REGRESSED
    assert by_ranks(sample(LOW, HIGH, declared=Gate(direction=-1))).word is Word.IMPROVED


def test_a_floor_in_the_metrics_unit_or_in_percent_whichever_is_larger() -> None:
    assert by_ranks(sample(LOW, HIGH, floor_abs=3.0)).floor == 3
    assert by_ranks(sample(LOW, HIGH, floor_rel=0.1)).floor == pytest.approx(10.2)
    assert by_ranks(sample([-v for v in LOW], LOW, floor_rel=0.1)).floor == pytest.approx(10.2)


def test_a_smaller_and_noisier_side_is_not_taken_for_a_worse_one() -> None:
    """Sixty metrics, 20 runs against 5 that are three times as noisy: the rank test alone is wrong in half of them."""
    random = np.random.default_rng(4)
    alarms = 0
    for _ in range(40):
        samples = [
            sample(random.normal(1000, 30, 20).tolist(), random.normal(1000, 90, 5).tolist(), metric=str(i))
            for i in range(60)
        ]
        alarms += any(v.word is Word.REGRESSED for v in decide(samples, Rule.RANKS, Settings()))
    assert alarms <= 6  # of a true 5 %, more than 6 of 40 in fewer than one of 300


def test_of_sides_of_different_size_both_tests_have_to_reject() -> None:
    """Ranks part completely (2 / C(9, 4) = 0.016), but one far value makes Welch's p 0.358."""
    verdict = by_ranks(sample(LOW, [105.0, 106.0, 107.0, 300.0]))
    assert verdict.p == pytest.approx(0.358, abs=0.001)
    assert verdict.word is Word.UNDECIDED


def test_a_level_of_zero_finds_nothing() -> None:
    for n in (5, 80):  # exact, and beyond
        apart = sample(np.arange(n).tolist(), (np.arange(n) + 1e6).tolist())
        assert by_ranks(apart, Settings(alpha=0.0)).word is Word.UNDECIDED


def test_infinite_spread_is_no_number() -> None:
    verdict = by_ranks(sample([-1, 0, 1], [5, 5, 5]))
    assert verdict.spread_a is None
    assert verdict.high_spread


def test_huge_values_give_no_infinity() -> None:
    verdict = by_ranks(sample([-1.7e308] * 5, [1.7e308, 1.6e308, 1.5e308, 1.4e308, 1.3e308]))
    assert verdict.shift is None and verdict.ci_high is None


def test_decided_is_nothing_undecided() -> None:
    same, moved, unclear = sample([7, 7], [7, 7]), sample(LOW, HIGH), sample([1, 2], [3, 4])
    assert decided(decide([same, moved], Rule.RANKS, Settings()))
    assert not decided(decide([same, moved, unclear], Rule.RANKS, Settings()))
    assert decided(())


def test_no_samples_no_verdicts() -> None:
    assert decide([], Rule.RANKS, Settings()) == ()


numbers = st.lists(st.integers(0, 6).map(float), max_size=7)


@given(st.lists(st.tuples(numbers, numbers, st.sampled_from([-1, 0, 1]), st.sampled_from("xyz")), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_samples_give_one_consistent_verdict_each(given: list[tuple[list[float], list[float], int, str]]) -> None:
    samples = [sample(a, b, polarity, scenario=s, metric=str(i)) for i, (a, b, polarity, s) in enumerate(given)]
    verdicts = decide(samples, Rule.RANKS, Settings())
    assert [(v.scenario, v.metric) for v in verdicts] == [(s.scenario, s.metric) for s in samples]
    for verdict, one in zip(verdicts, samples, strict=True):
        assert (verdict.more is not None) <= (verdict.word is Word.UNDECIDED)
        assert verdict.q is None or (verdict.p is not None and verdict.q >= verdict.p * (1 - 1e-12))  # but for rounding
        if verdict.word in (Word.REGRESSED, Word.IMPROVED):
            assert verdict.q is not None and verdict.q <= 0.05
            assert verdict.shift is not None and verdict.floor is not None and abs(verdict.shift) >= verdict.floor
            assert (verdict.shift * one.polarity > 0) == (verdict.word is Word.REGRESSED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [1.0, float("nan")]}, "not finite"),
        ({"b": [float("inf")]}, "not finite"),
        ({"polarity": 2}, "polarity 2"),
        ({"floor_abs": -1.0}, "floor_abs"),
        ({"floor_rel": float("nan")}, "floor_rel"),
    ],
)
def test_a_sample_that_is_none_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(**{"a": LOW, "b": HIGH, **change})  # type: ignore[arg-type]


def test_settings_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        Settings(alpha=1.5)
