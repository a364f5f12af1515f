from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.temporal import QUANTITIES, RELATIONS, TEMPORAL_PATTERN, Temporal, parse


def test_a_line_is_taken_apart() -> None:
    line = "eventually imbalance <= 1.5 within 500ms"
    assert parse(line) == Temporal(line, "eventually", "imbalance", "<=", 1.5, 500_000_000)
    assert parse("never local_dsq > 10").bound_ns is None
    assert parse("stays waiting == 0 after 2s").bound_ns == 2_000_000_000


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "never|always QUANTITY"),
        ("never depth > 10", "longest_wait_ms"),
        ("never local_dsq => 10", "never|always QUANTITY"),
        ("never local_dsq > -1", "never|always QUANTITY"),
        ("never local_dsq > 10 within 1s", "no time at its end"),
        ("eventually local_dsq > 10", "'within TIME' at its end"),
        ("eventually local_dsq > 10 after 1s", "'within TIME' at its end"),
        ("stays local_dsq > 10 within 1s", "'after TIME' at its end"),
    ],
)
def test_what_is_none_says_what_was_expected(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse(line)


@given(st.sampled_from(sorted(QUANTITIES)), st.sampled_from(RELATIONS), st.integers(0, 10**9 - 1))
def test_every_quantity_and_relation_can_be_asserted(quantity: str, relation: str, value: int) -> None:
    line = f"always {quantity} {relation} {value}"
    assert (parse(line).quantity, parse(line).relation, parse(line).value) == (quantity, relation, value)
    assert re.fullmatch(TEMPORAL_PATTERN, line)
