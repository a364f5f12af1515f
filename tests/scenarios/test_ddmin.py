from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from ktstr.scenarios.ddmin import Subset, ddmin


def minimised(changes: Subset, fails: Callable[[Subset], bool]) -> tuple[Subset, list[Subset]]:
    """What is left, and every candidate that was tried."""
    search, tried = ddmin(changes), []
    try:
        candidates = next(search)
        while True:
            first = None
            for at, candidate in enumerate(candidates):
                tried.append(candidate)
                if fails(candidate):
                    first = at
                    break
            candidates = search.send(first)
    except StopIteration as end:
        return end.value, tried


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 41))
def test_a_failure_that_needs_some_changes_keeps_exactly_these(needed: set[int], more: int) -> None:
    changes = tuple(range(max(*needed, more) + 1))
    left, tried = minimised(changes, lambda candidate: needed <= set(candidate))
    assert set(left) == needed
    assert len(tried) <= len(changes) ** 2 + 3 * len(changes)  # Zeller and Hildebrandt, proposition 12


@given(st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=5), st.integers(2, 3))
def test_without_any_one_of_what_is_left_the_failure_is_gone(causes: list[set[int]], odd: int) -> None:
    changes = tuple(range(13))

    def fails(candidate: Subset) -> bool:
        """Not monotonic: of candidates that have a cause, some do not fail."""
        there = any(cause <= set(candidate) for cause in causes)
        return there and (len(candidate) % odd != 1 or len(candidate) in (1, 13))

    if not fails(changes):
        return
    left, _ = minimised(changes, fails)
    assert fails(left)
    assert len(left) == 1 or not any(fails(tuple(c for c in left if c != gone)) for gone in left)


def test_candidates_are_parts_of_what_is_left_and_never_none_or_all_of_it() -> None:
    left, tried = minimised(tuple(range(8)), lambda candidate: {1, 6} <= set(candidate))
    assert left == (1, 6)
    assert tried[:2] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert all(0 < len(candidate) < 8 for candidate in tried)


def test_one_change_needs_no_run() -> None:
    assert minimised((7,), lambda candidate: True) == ((7,), [])
