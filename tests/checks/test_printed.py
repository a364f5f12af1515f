"""Numbers in the JSON that a program printed."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks.printed import MAX_DEPTH, MAX_NAME, matched, numbers
from ktstr.config.model import PayloadMetric, Pick

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(
    st.characters(codec="ascii", min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1, max_size=8
)
TREES = st.recursive(
    SCALARS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=30
).filter(lambda tree: isinstance(tree, (dict, list)))


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[str, float]:
    """The same by recursion."""
    if isinstance(tree, dict):
        pairs = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(str(place), value) for place, value in enumerate(tree)]
    elif isinstance(tree, (int, float)) and not isinstance(tree, bool):
        return {".".join(path): float(tree)}
    else:
        pairs = []
    return {name: number for key, value in pairs for name, number in leaves(value, (*path, key)).items()}


@given(TREES)
def test_every_number_of_a_document_is_found_by_its_path(tree: Any) -> None:
    assert numbers(json.dumps(tree)).values == leaves(tree)


@given(TREES, st.text(st.characters(exclude_characters='[]{}"\\')), st.text(st.characters(exclude_characters="[]{}")))
def test_and_so_in_a_document_among_other_words(tree: Any, before: str, after: str) -> None:
    assert numbers(f"{before}\n{json.dumps(tree)}\n{after}").values == leaves(tree)


@given(st.text(st.sampled_from('{}[]",:\\\n1e-.tfn ')))
def test_any_text_gives_finite_numbers_or_none(text: str) -> None:
    assert all(map(math.isfinite, numbers(text).values.values()))


def test_truth_values_texts_and_what_is_not_finite_are_no_numbers() -> None:
    text = '{"a": true, "b": "1", "c": null, "d": NaN, "e": 1e999, "f": -Infinity, "g": {"h": [1.5, -2]}}'
    assert numbers(text).values == {"g.h.0": 1.5, "g.h.1": -2.0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('warming up\n{"iops": 7}\ndone', {"iops": 7.0}),
        ('[warm] up\n{"iops": 7}', {"iops": 7.0}),
        ('say "hello\n{"iops": 7}', {"iops": 7.0}),
        ('[ half a line\n{"iops": 7}', {"iops": 7.0}),
        ('{"a": "}] \\" {", "n": 2} {"n": 3}', {"n": 2.0}),
        ('options {}, [] and {"n": 3}', {"n": 3.0}),
        ("42", {}),
        ("", {}),
        ('{"cut": 1, "off":', {}),
    ],
)
def test_the_first_balanced_region_of_json_with_numbers_counts(text: str, found: dict[str, float]) -> None:
    assert numbers(text).values == found


def test_of_two_equal_paths_the_first_counts() -> None:
    assert numbers('{"a.b": 1, "a": {"b": 2}}').values == {"a.b": 1.0}


def nested(depth: int, inside: str) -> str:
    return '{"k":' * depth + inside + "}" * depth


def test_what_lies_too_deep_is_left_out_and_that_is_said() -> None:
    assert numbers(nested(MAX_DEPTH, "1")).values == {".".join("k" * MAX_DEPTH): 1.0}
    assert not numbers(nested(MAX_DEPTH, "1")).too_deep
    deeper = numbers(nested(MAX_DEPTH, '1, "in": {"k": 2}'))
    assert deeper.too_deep and list(deeper.values.values()) == [1.0]
    assert numbers(nested(5000, "1")).values == {}


def test_names_that_cannot_be_shown_are_left_out() -> None:
    text = json.dumps({"a\x1b[2J": 1, "\ud800": 2, "n" * (MAX_NAME + 1): 3, "good": 4})
    assert numbers(text).values == {"good": 4.0}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 262144, "{[" * 131072, '["' * 131072, "[]" * 131072, "[" * 131072 + "]" * 131072,
        "[" + "9" * 262142 + "]", "[" + "1," * 131071 + "1]", '{"' + "k" * 100000 + '":[' + "1," * 80000 + "1]}",
        "[1}" * 87381,
    ],
    ids=lambda text: text[:4],
)  # fmt: skip
def test_hostile_output_takes_no_time(text: str) -> None:
    """As much as is kept of it: were any of it quadratic, it would take minutes."""
    begin = time.process_time()
    numbers(text)
    assert time.process_time() - begin < 5


LINES = "a: 3 ms\na: 1 ms\nb: nan\na: 8 ms\nc: 1e999\nc: 5\n"


@pytest.mark.parametrize(
    ("pick", "value"),
    [("first", 3), ("last", 8), ("min", 1), ("max", 8), ("mean", 4), ("sum", 12), ("count", 3)],
)
def test_of_several_matches_in_a_text_one_is_picked(pick: Pick, value: float) -> None:
    assert matched(LINES, [PayloadMetric("a", match=r"^a: (\d+)", pick=pick)]).values == {"a": value}


def test_what_is_no_finite_number_is_no_match() -> None:
    hints = [PayloadMetric(name, match=rf"^{name}: (\S+)") for name in ("b", "c", "d")]
    assert matched(LINES, hints).values == {"c": 5.0}
