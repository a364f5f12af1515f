from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks.verdict import Verdict, fold

VERDICTS = st.sampled_from(list(Verdict))


def test_fail_beats_inconclusive_beats_pass_beats_skip() -> None:
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.SKIP]
    for better, worse in itertools.pairwise(reversed(order)):
        assert fold([better, worse]) is worse


def test_nothing_judged_is_a_skip_and_never_a_pass() -> None:
    assert fold([]) is Verdict.SKIP
    assert fold([Verdict.SKIP, Verdict.SKIP]) is Verdict.SKIP


@given(st.lists(VERDICTS), st.lists(VERDICTS))
def test_fold_of_parts_is_the_fold_of_the_whole(a: list[Verdict], b: list[Verdict]) -> None:
    assert fold([fold(a), fold(b)]) is fold(a + b)


@given(st.lists(VERDICTS, min_size=1).flatmap(lambda vs: st.tuples(st.just(vs), st.permutations(vs))))
def test_fold_ignores_order_and_repeats(lists: tuple[list[Verdict], list[Verdict]]) -> None:
    a, shuffled = lists
    assert fold(a) is fold(shuffled) is fold(a + a)


@given(st.lists(VERDICTS), VERDICTS)
def test_adding_a_part_never_makes_the_whole_better(parts: list[Verdict], extra: Verdict) -> None:
    assert fold([*parts, extra]) >= fold(parts)
    assert fold([*parts, Verdict.SKIP]) is fold(parts)
