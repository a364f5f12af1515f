from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config import yaml_lines
from ktstr.config.yaml_lines import MAX_DEPTH, Node, core_scalar, plain, read
from ktstr.errors import InputError


def message(text: str | bytes) -> str:
    with pytest.raises(InputError) as err:
        read(text.encode() if isinstance(text, str) else text, "ktstr.yaml")
    return str(err.value)


def at(node: Node, *steps: str | int) -> Node:
    for step in steps:
        assert isinstance(node.value, dict | list)
        node = node.value[step]  # type: ignore[index]
    return node


def test_every_node_and_key_has_its_place() -> None:
    root = read(b"a: 1\nb:\n  - x\n  - {c: [2, 'y']}\n", "ktstr.yaml")
    assert (root.line, root.col) == (1, 1)
    assert at(root, "a")[2:4] == (1, 4)
    assert at(root, "b", 0)[2:4] == (3, 5)
    assert at(root, "b", 1, "c", 1)[2:4] == (4, 13)
    assert at(root, "b", 1).keys == {"c": (4, 6)}


def test_columns_count_characters_not_bytes() -> None:
    assert at(read("é: ö, x\nü: [ä, b]\n".encode(), "ktstr.yaml"), "ü", 1)[2:4] == (2, 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), ("true", True), ("False", False), ("null", None),
        ("~", None), ("", None), ("yes", "yes"), ("off", "off"), ("1:30", "1:30"), ("0-3,5", "0-3,5"), ("010", 10),
        ("2024-01-01", "2024-01-01"), ("1_000", "1_000"), (".inf", math.inf), ("0x10", "0x10"), (".", "."), ("-", "-"),
    ],
)  # fmt: skip
def test_plain_scalars_are_of_yaml_1_2(text: str, value: object) -> None:
    assert core_scalar(text) == value
    assert type(core_scalar(text)) is type(value)


def test_a_version_keeps_its_text() -> None:
    node = at(read(b"spec: 6.10\n", "ktstr.yaml"), "spec")
    assert (node.value, node.raw) == (6.1, "6.10")


def test_quoted_numbers_are_text() -> None:
    assert plain(read(b"{a: '1', b: \"true\"}", "ktstr.yaml")) == {"a": "1", "b": "true"}


def test_duplicate_keys_are_refused_with_both_places() -> None:
    assert message("tests:\n  a: 1\n  b: 2\n  a: 3\n") == (
        "ktstr.yaml:4:3 tests.a: found 'a' a second time, expected each key once (first at line 2, column 3)"
    )


def test_several_problems_are_told_together_by_line() -> None:
    assert message("a: !!str 1\na: 2\n<<: {x: 1}\n").splitlines() == [
        "ktstr.yaml:1:4 a: found the tag 'tag:yaml.org,2002:str', expected no tags",
        "ktstr.yaml:2:1 a: found 'a' a second time, expected each key once (first at line 1, column 1)",
        "ktstr.yaml:3:1 <<: found a merge key (<<), expected the keys themselves, or an alias for a whole value",
    ]


@pytest.mark.parametrize("key", ["null", "true", "~"])
def test_keys_are_names(key: str) -> None:
    assert message(f"x:\n  {key}: 1\n") == (
        f"ktstr.yaml:2:3 x.{key}: found the key {key}, expected a key that is a name"
    )


def test_complex_keys_are_refused() -> None:
    assert message("? [a, b]\n: 1\n") == (
        "ktstr.yaml:1:3 (document): found a list or mapping as a key, expected a key that is a name"
    )
    assert "an alias as a key" in message("a: &x b\n*x : 1\n")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [true]", "!include x", "!!binary aGk=", "! x"])
def test_tags_are_refused(tag: str) -> None:
    assert message(f"a: {tag}\n").endswith("expected no tags")


def test_an_alias_repeats_its_value() -> None:
    assert plain(read(b"a: &x {k: [1, 2]}\nb: *x\n", "ktstr.yaml")) == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}}


def test_an_alias_that_contains_itself_is_refused() -> None:
    assert message("a: &x [1, *x]\n") == (
        "ktstr.yaml:1:11 a[1]: found the alias *x, expected an anchor that is complete before it"
    )


def test_a_bomb_of_aliases_is_refused_soon() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    assert "found a value that unfolds too far, expected at most" in message("\n".join(lines))


def test_the_parser_without_libyaml_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (Path(__file__).parents[2] / "ktstr.yaml").read_bytes()
    fast = read(data, "ktstr.yaml")
    monkeypatch.setattr(yaml_lines, "_LOADER", yaml.SafeLoader)
    assert read(data, "ktstr.yaml") == fast
    assert message("a: [1\nb: 2\n").startswith("ktstr.yaml:2:2 (document): found bad YAML (")


def test_depth_is_bounded() -> None:
    read(("[" * MAX_DEPTH + "]" * MAX_DEPTH).encode(), "ktstr.yaml")
    assert f"expected at most {MAX_DEPTH} levels" in message("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert f"expected at most {MAX_DEPTH} levels" in message("[" * 100_000)


def test_size_is_bounded() -> None:
    assert message(b"#" * ((4 << 20) + 1)) == "ktstr.yaml:1:1 (document): found 4194305 bytes, expected at most 4194304"


def test_a_second_document_is_refused() -> None:
    assert message("a: 1\n---\nb: 2\n") == "ktstr.yaml:2:1 (document): found a second document, expected one document"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [1\nb: 2\n", "ktstr.yaml:2:2 ", "while parsing a flow sequence that starts at line 1"),
        ("a:\n\t- x\n", "ktstr.yaml:2:1 ", "cannot start any token"),
        ("a: 1\n b: 2\n", "ktstr.yaml:2:3 ", "mapping values are not allowed"),
    ],
)
def test_syntax_errors_have_their_place(text: str, where: str, what: str) -> None:
    told = message(text)
    assert told.startswith(where + "(document): found bad YAML (")
    assert what in told
    assert told.endswith("expected well-formed YAML")


def test_bytes_that_are_no_text_are_refused_with_their_place() -> None:
    assert message("ok: é\nx: ".encode() + b"\xff") == (
        "ktstr.yaml:2:4 (document): found byte 0xff, expected UTF-8 text"
    )
    assert message("a: é\nb: \x01\n") == (
        "ktstr.yaml:2:4 (document): found the control character U+0001, expected printable text"
    )


def test_an_empty_file_is_null() -> None:
    assert read(b"", "ktstr.yaml").value is None
    assert read(b"# only words\n", "ktstr.yaml").value is None


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_or_the_user_error(data: bytes) -> None:
    try:
        assert isinstance(read(data, "ktstr.yaml"), Node)
    except InputError as err:
        assert str(err).startswith("ktstr.yaml:")


PIECES = st.sampled_from(
    ["a", ":", " ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&x ", "*x", "!t ", "'", '"', "|", "1.5", "#"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_soup_of_yaml_gives_a_document_or_the_user_error(text: str) -> None:
    try:
        assert isinstance(read(text.encode(), "ktstr.yaml"), Node)
    except InputError as err:
        assert str(err).startswith("ktstr.yaml:")


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_json_is_yaml_and_reads_back(value: object) -> None:
    text = json.dumps(value)
    assert plain(read(text.encode(), "ktstr.yaml")) == value


def test_every_node_knows_its_file() -> None:
    root = read(b"a: [1, {b: c}]\n", "more/x.yaml")

    def files(node: Node) -> set[str]:
        children: list[Node] = []
        if isinstance(node.value, dict):
            children = list(node.value.values())
        elif isinstance(node.value, list):
            children = node.value
        return {node.file}.union(*map(files, children))

    assert files(root) == {"more/x.yaml"}
    assert read(b"", "empty.yaml").file == "empty.yaml"
