from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.suggest import distance, nearest

WORD = st.text(alphabet="abcd", max_size=7)


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 2)],
)
def test_distance_of_worked_examples(a: str, b: str, edits: int) -> None:
    assert distance(a, b) == edits


def by_definition(a: str, b: str) -> int:
    """The recurrence as it is written in textbooks, without memory."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return by_definition(a[1:], b[1:])
    return 1 + min(by_definition(a[1:], b), by_definition(a, b[1:]), by_definition(a[1:], b[1:]))


@given(st.text(alphabet="ab", max_size=5), st.text(alphabet="ab", max_size=5))
def test_distance_is_the_recurrence(a: str, b: str) -> None:
    assert distance(a, b) == by_definition(a, b)


@given(WORD, WORD, WORD)
def test_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@given(WORD, st.lists(WORD))
def test_nearest_is_the_first_of_the_closest_within_three(query: str, names: list[str]) -> None:
    within = [n for n in names if distance(query, n) <= 3]
    expected = min(within, key=lambda n: distance(query, n), default=None)
    assert nearest(query, names) == expected


def test_nearest_allows_a_third_of_a_long_query() -> None:
    query = "abcdefghijklmno"  # 15 letters: 5 edits
    assert nearest(query, ["abcdefghij"]) == "abcdefghij"
    assert nearest(query, ["abcdefghi"]) is None


def test_nearest_of_kernle_is_kernel() -> None:
    assert nearest("kernle", ["test", "kernel", "preset"]) == "kernel"
