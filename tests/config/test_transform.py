from __future__ import annotations

from ktstr.config.transform import is_too_large, with_entries, with_items, without
from ktstr.config.yaml_lines import MAX_NODES, Node, plain, read


def document(text: str) -> Node:
    return read(text.encode(), "f")


def test_a_changed_mapping_keeps_its_place_and_knows_its_size() -> None:
    node = document("a: 1\nb: [2, 3]\n")
    assert isinstance(node.value, dict)
    made = with_entries(node, {"c": node.value["b"]}, {"c": (9, 9)})
    assert (plain(made), made.keys, made.size) == ({"c": [2, 3]}, {"c": (9, 9)}, 4)
    assert (made.line, made.col, made.file) == (1, 1, "f")
    assert plain(node) == {"a": 1, "b": [2, 3]}


def test_a_changed_list_keeps_its_place_and_knows_its_size() -> None:
    node = document("[1, [2, 3]]")
    assert isinstance(node.value, list)
    made = with_items(node, [node.value[1], node.value[1]])
    assert (plain(made), made.size, made.col) == ([[2, 3], [2, 3]], 7, 1)


def test_without_keys_that_are_not_there_nothing_changes() -> None:
    node = document("a: 1\nb: 2\n")
    assert without(node, "x") is node
    made = without(node, "a", "x")
    assert (plain(made), made.keys, made.size) == ({"b": 2}, {"b": (2, 1)}, 2)


def test_what_unfolds_too_far_is_known_by_its_size() -> None:
    node = document("1")
    assert not is_too_large(node._replace(size=MAX_NODES)) and is_too_large(node._replace(size=MAX_NODES + 1))
