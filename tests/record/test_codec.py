from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.record.codec import DecodeError, decode, encode


@dataclass(frozen=True)
class Inner:
    word: Literal["a", "b"]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    share: float
    label: str | None
    rows: tuple[tuple[int, ...], ...] = ()
    extra: dict[str, object] = field(default_factory=dict)


INTS = st.integers(-(2**64) + 1, 2**64 - 1)
INNER = st.builds(Inner, st.sampled_from(["a", "b"]), st.lists(INTS).map(tuple))
OUTER = st.builds(
    Outer,
    st.lists(INNER).map(tuple),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.text(),
    st.lists(st.lists(INTS).map(tuple)).map(tuple),
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
)


@given(OUTER)
def test_what_is_encoded_comes_back_equal(value: Outer) -> None:
    assert decode(Outer, json.loads(json.dumps(encode(value)))) == value


FIELDS = ["inner", "share", "label", "rows", "extra"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["inner", "share", "label", "rows", "extra"]), inner)
    ),
)


@given(JSON)
def test_any_other_json_is_refused_by_name_and_never_crashes(data: object) -> None:
    try:
        assert isinstance(decode(Outer, data, "top"), Outer)
    except DecodeError as error:
        assert str(error).startswith("top")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"word": "c", "numbers": []}, "x.word: found 'c', expected one of a, b"),
        ({"word": ["a"], "numbers": []}, "x.word: found ['a'], expected one of a, b"),
        ({"word": "a"}, "x.numbers: missing field"),
        ({"word": "a", "numbers": [], "z": 1}, "x.z: unknown field"),
        ({"word": "a", "numbers": [1, 1.0]}, "x.numbers[1]: found 1.0, expected a 64-bit integer"),
    ],
)
def test_errors_name_the_field_what_was_found_and_what_was_expected(data: object, said: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode(Inner, data, "x")
    assert str(error.value) == said
