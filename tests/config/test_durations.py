from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.durations import parse_duration, render_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2s", 2_000_000_000),
        ("500ms", 500_000_000),
        ("100us", 100_000),
        ("7ns", 7),
        ("1.5ms", 1_500_000),
        ("1m", 60 * 10**9),
    ],
)
def test_durations_are_nanoseconds(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["2", "2 s", "s", "-1s", "2S", "2sec", "1e3s", "1.s", ".5s", "2s ", "9999999999s", ""])
def test_a_number_without_a_known_unit_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration with its unit, such as 2s, 500ms or 100us"):
        parse_duration(text)


def test_a_fraction_of_a_nanosecond_is_refused() -> None:
    with pytest.raises(ValueError, match="a whole number of nanoseconds"):
        parse_duration("1.5ns")


@given(st.integers(0, 999_999_999), st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]))
def test_durations_render_and_parse_back(count: int, unit: int) -> None:
    assert parse_duration(render_duration(count * unit)) == count * unit
