"""``matrix`` of a test: a test for each combination of values, made before anything is typed.

The path of a field is written as messages have it: ``duration``, ``cgroups[0].workers``, ``cgroups[0].cpu.max``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from ktstr.config import scenario_fields as tables
from ktstr.config.placed import at
from ktstr.config.problems import quoted
from ktstr.config.reader import NAME, NAME_RULE, Reader, found, is_text
from ktstr.config.transform import is_too_large, with_entries, with_items, without
from ktstr.config.yaml_lines import MAX_NODES, Node, Place

MATRIX = "matrix"
MAX_VARIANTS = 1024  # of one test
MAX_PATH = 256  # characters
_VALUES_RULE = "a list of values, or a mapping of values by name"
_PATH_RULE = "the path of a field, such as duration or cgroups[0].workers"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_WHOLE = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[\d{1,4}\])*")
_NAMED = {"cgroups": "name", "payloads": "payload"}  # lists in which a name is short for a mapping with this key
_BY_DOTTED_NAME = frozenset({"sysctls"})  # mappings whose keys are names with dots
_DOTTED = frozenset(key for key in tables.CONTROLS if "." in key)


@dataclass(frozen=True)
class _Axis:
    """One entry of a matrix: the field, where it is written, and its values by label."""

    field: str
    place: Place
    file: str
    values: dict[str, Node]


class _Missing(Exception):
    """A path leads nowhere; the message says what was expected."""


def expand_variants(r: Reader, root: Node) -> Node:
    """The document with each test that has a matrix replaced by its variants. Problems are recorded in the reader."""
    tests = root.value.get("tests") if isinstance(root.value, dict) else None
    if tests is None or not isinstance(tests.value, dict) or not isinstance(root.value, dict):
        return root
    if not any(isinstance(test.value, dict) and MATRIX in test.value for test in tests.value.values()):
        return root
    entries: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for name, test in tests.value.items():
        for made, variant in _variants(r, name, test).items():
            if made in entries or (made != name and made in tests.value):
                r.wrong(at(test, MATRIX), f"tests.{name}.{MATRIX}", "names that no other test has", what=quoted(made))
            else:
                entries[made], keys[made] = variant, tests.keys[name]
    made_tests = with_entries(tests, entries, keys)
    if is_too_large(made_tests):
        r.wrong(tests, "tests", f"at most {MAX_NODES} values", what=f"what {MATRIX} unfolds into {made_tests.size}")
        return without(root, "tests")
    return with_entries(root, {**root.value, "tests": made_tests}, root.keys)


def _variants(r: Reader, name: str, test: Node) -> dict[str, Node]:
    """The tests that one is, by name: itself without a matrix."""
    if not isinstance(test.value, dict) or MATRIX not in test.value:
        return {name: test}
    path = f"tests.{name}.{MATRIX}"
    matrix, plain = test.value[MATRIX], without(test, MATRIX)
    axes = _axes(r, matrix, path)
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_VARIANTS or count * plain.size > MAX_NODES:
        r.wrong(matrix, path, f"at most {min(MAX_VARIANTS, MAX_NODES // plain.size)}", what=f"{count} combinations")
        return {name: plain}
    if not axes:
        return {name: plain}
    made: dict[str, Node] = {}
    for labels in product(*(axis.values for axis in axes)):
        full = ".".join((name, *labels))
        if not NAME.fullmatch(full):
            r.wrong(matrix, path, f"names of tests, each {NAME_RULE}", what=quoted(full))
            return {name: plain}
        if full in made:
            r.wrong(matrix, path, "a name of its own for each combination", what=f"{quoted(full)} twice")
            return {name: plain}
        variant = _variant(r, plain, path, tuple(zip(axes, labels, strict=True)))
        if variant is None:
            return {name: plain}
        made[full] = variant
    return made


def _variant(r: Reader, plain: Node, path: str, chosen: tuple[tuple[_Axis, str], ...]) -> Node | None:
    """One combination; None, with the problem recorded, when a path leads nowhere."""
    variant = plain
    for axis, label in chosen:
        try:
            variant = _put(variant, axis.field, "", axis, axis.values[label])
        except _Missing as err:
            matrix = Node({axis.field: axis.values[label]}, "", *axis.place, {axis.field: axis.place}, 1, axis.file)
            r.wrong_key(matrix, axis.field, f"{path}.{axis.field}", str(err))
            return None
    return variant


def _axes(r: Reader, matrix: Node, path: str) -> list[_Axis]:
    entries = r.mapping(matrix, path, "a mapping of values by the path of a field")
    if matrix.value == {}:
        r.wrong(matrix, path, "at least one field", what="an empty mapping")
    axes = []
    for field, node in entries.items():
        if len(field) > MAX_PATH or not _WHOLE.fullmatch(field):
            r.wrong_key(matrix, field, f"{path}.{field}", _PATH_RULE)
            continue
        if field.partition(".")[0].partition("[")[0] == MATRIX:
            r.wrong_key(matrix, field, f"{path}.{field}", "a field of the test other than matrix")
            continue
        values = _values(r, node, f"{path}.{field}")
        if values:
            axes.append(_Axis(field, matrix.keys[field], node.file, values))
    return axes


def _values(r: Reader, node: Node, path: str) -> dict[str, Node]:
    """The values of an axis by label: the names of a mapping, the texts of scalars."""
    if isinstance(node.value, dict) and node.value:
        return dict(node.value)
    if not isinstance(node.value, list) or not node.value:
        r.wrong(node, path, _VALUES_RULE, what="an empty one" if node.value in ([], {}) else found(node))
        return {}
    values: dict[str, Node] = {}
    for i, child in enumerate(node.value):
        label = _UNSAFE.sub("-", child.raw)
        if not (is_text(child) or isinstance(child.value, bool)) or not label:
            r.wrong(child, f"{path}[{i}]", "a scalar, which names itself; a mapping names values that are none")
        elif label in values:
            r.wrong(child, f"{path}[{i}]", f"values of different names; this one is {label!r} too")
        else:
            values[label] = child
    return values


def _put(node: Node, rest: str, key: str, axis: _Axis, value: Node) -> Node:
    """The node with the field at ``rest`` replaced. ``key``: the one that ``node`` is, or is in a list of."""
    if not rest:
        return value
    if key in _NAMED and is_text(node):
        node = with_entries(node, {_NAMED[key]: node}, {_NAMED[key]: (node.line, node.col)})
    if rest.startswith("["):
        return _put_item(node, rest, key, axis, value)
    rest = rest.removeprefix(".")
    if not isinstance(node.value, dict):
        raise _Missing(f"the path of a field: {found(node)} has no {rest.partition('.')[0]}")
    name = rest if key in _BY_DOTTED_NAME else _key(rest, node.value)
    child = node.value.get(name)
    after = rest[len(name) :]
    if child is None and after.startswith("["):
        raise _Missing(f"the path of a field that is there: {name} is not")
    if child is None:
        child = Node({}, "", *axis.place, {}, 1, axis.file)
        if not after:
            child = value
    made = _put(child, after, name, axis, value)
    place = node.keys[name] if name in node.keys and after else axis.place
    return with_entries(node, {**node.value, name: made}, {**node.keys, name: place})


def _put_item(node: Node, rest: str, key: str, axis: _Axis, value: Node) -> Node:
    digits, _, after = rest[1:].partition("]")
    if not isinstance(node.value, list):
        raise _Missing(f"the path of a field: {found(node)} has no [{digits}]")
    index = int(digits)
    if index >= len(node.value):
        raise _Missing(f"an index of {key or 'the list'} below {len(node.value)}")
    made = _put(node.value[index], after, key, axis, value)
    return with_items(node, [*node.value[:index], made, *node.value[index + 1 :]])


def _key(rest: str, entries: dict[str, Node]) -> str:
    """The key that a path begins with: some have dots themselves."""
    parts = rest.partition("[")[0].split(".")
    candidates = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    known = (name for name in candidates if name in entries or name in _DOTTED)
    return next(known, parts[0])
