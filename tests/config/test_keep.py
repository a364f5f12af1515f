from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.keep import keep_words, parse_keep


def test_numbers_are_written_as_seeds_are() -> None:
    assert parse_keep(["5", "0..2"]) == (0, 1, 2, 5)
    assert (keep_words((0, 1, 2, 5)), keep_words((7,)), keep_words(())) == ("0..2,5", "7", "none")
    assert parse_keep(["none"]) == ()


@given(st.sets(st.integers(0, 200)))
def test_what_is_written_is_read_again(numbers: set[int]) -> None:
    keep = tuple(sorted(numbers))
    assert parse_keep(keep_words(keep).split(",")) == keep


@pytest.mark.parametrize("items", [["none", "3"], ["x"], ["3..1"], [""]])
def test_what_is_no_number_is_refused(items: list[str]) -> None:
    with pytest.raises(ValueError, match="numbers of changes, such as 3"):
        parse_keep(items)
