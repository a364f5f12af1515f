from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, field

from ktstr.record.codec import DecodeError, decode, encode


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    word: Literal["a", "b"]
    numbers: tuple[int, ...]


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
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
    st.dictionaries(st.text(), INTS | st.text() | st.none()),
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


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"a": 2**64}, "x.extra.a: found 18446744073709551616, expected a 64-bit integer"),
        ({"a": [1, {"b": -(2**64)}]}, "x.extra.a[1].b: found -18446744073709551616, expected a 64-bit integer"),
        ({"a": [1, 2, 2**64]}, "x.extra.a[2]: found 18446744073709551616, expected a 64-bit integer"),
        ({"a": [0.5, float("nan")]}, "x.extra.a[1]: found nan, expected a finite number"),
    ],
)
def test_no_number_anywhere_is_beyond_64_bits_or_infinite(extra: object, said: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode(Outer, {"inner": [], "share": 0.5, "label": None, "extra": extra}, "x")
    assert str(error.value) == said


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_what_is_nested_too_deeply_is_refused(make: Callable[[object], object]) -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = make(deep)
    with pytest.raises(DecodeError, match="x: is nested too deeply"):
        decode(Outer, {"inner": [], "share": 0.5, "label": None, "extra": {"a": deep}}, "x")


def test_errors_in_records_inside_records_have_the_whole_path() -> None:
    data = {"inner": [{"word": "a", "numbers": []}, {"word": "b", "numbers": [1, "2"]}], "share": 1, "label": None}
    with pytest.raises(DecodeError) as error:
        decode(Outer, data, "x")
    assert str(error.value) == "x.inner[1].numbers[1]: found '2', expected a 64-bit integer"


def test_a_long_value_is_quoted_in_part() -> None:
    with pytest.raises(DecodeError) as error:
        decode(Inner, {"word": "c" * 500, "numbers": []}, "x")
    assert len(str(error.value)) < 120
