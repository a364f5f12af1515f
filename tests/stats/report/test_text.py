from __future__ import annotations

import pytest

from ktstr.stats.report.text import TEXT_MAX, counted, figure, shown, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (0.0, "0"),
        (7, "7"),
        (12.345678, "12.35"),
        (0.00123456, "0.001235"),
        (123.4, "123.4"),
        (1234.5, "1\u202f234"),
        (1234567.0, "1\u202f234\u202f567"),
        (-5.25, "\u22125.25"),
        (1e-7, "1e-07"),
        (2.5e20, "2.5e+20"),
    ],
)
def test_figures_have_four_digits(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_signs_are_said() -> None:
    assert [signed(value) for value in (1.5, 0, -1.5)] == ["+1.5", "0", "\u22121.5"]


def test_nouns_follow_their_number() -> None:
    assert [counted(1, "cell"), counted(0, "cell"), counted(2, "topology", "topologies")] == [
        "1 cell", "0 cells", "2 topologies",
    ]  # fmt: skip


def test_what_cannot_be_printed_is_replaced_and_escapes_of_terminals_go() -> None:
    assert shown("a\x1b[31mb\x00c\u202ed\u2028e") == "ab\ufffdc\ufffdd\ufffde"
    assert shown("two\nlines, 1\u202f000") == "two\nlines, 1\u202f000"


def test_absurdly_long_text_is_cut() -> None:
    assert len(shown("x" * 10 * TEXT_MAX)) == TEXT_MAX + 2
