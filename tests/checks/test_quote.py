from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks import quote


def test_last_words_are_the_last_lines_that_say_something() -> None:
    assert quote.last_words("one\n\ntwo\r\nthree\n  \nfour\n\n") == "two | three | four"
    assert quote.last_words("\n \n") == ""


def test_terminal_escapes_are_removed_whole() -> None:
    assert quote.clean("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b[2J") == "red x"


@given(st.text())
def test_what_is_quoted_is_one_short_printable_line(text: str) -> None:
    found = quote.clean(text)
    assert len(found) <= quote.LINE_MAX
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in found)
    assert found.encode().decode() == found
