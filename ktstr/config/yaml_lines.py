"""YAML with the line and column of every node kept, and nothing in it that can surprise.

Built from parser events rather than from PyYAML's constructors, because the latter lose
positions, let the last of two equal keys win, and read YAML 1.1 (``on`` is true, ``6.10``
is 6.1). Here plain scalars are read by the YAML 1.2 core schema and keep their own text;
tags, complex keys and merge keys are refused; aliases are counted, so a small file cannot
unfold into a large document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import yaml

from ktstr.config.problems import Problem, error, quoted

Scalar: TypeAlias = str | int | float | bool | None
Place: TypeAlias = tuple[int, int]

MAX_BYTES = 4 << 20
MAX_NODES = 400_000
MAX_DEPTH = 32
DOCUMENT = "(document)"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?[0-9]{1,20}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}


class Node(NamedTuple):
    """A value and where it starts, line and column from 1.

    ``value`` holds Nodes inside mappings and lists. ``raw`` is a scalar's text as written, so a
    version such as ``6.10`` is still whole. ``keys`` gives the places of a mapping's keys, each in the file of its
    value. ``size``: how many values it unfolds into. ``file``: what messages call its file.
    """

    value: dict[str, Node] | list[Node] | Scalar
    raw: str
    line: int
    col: int
    keys: dict[str, Place]
    size: int
    file: str = ""


def plain(node: Node) -> Any:
    """The node as plain Python values, for a JSON Schema validator."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def core_scalar(text: str) -> Scalar:
    """A plain scalar's value by the YAML 1.2 core schema (without octal and hexadecimal)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "0123456789+-.":
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def read(data: bytes, file: str) -> Node:
    """The one document in ``data``. ``file`` is what messages call it.

    Raises InputError naming every place that is not plain YAML.
    """
    text = _decode(data, file)
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as err:
        builder.problems.append(_syntax(err))
    except _TooMuch as err:
        builder.problems.append(err.problem)
    if builder.problems:
        raise error(file, builder.problems)
    return builder.root or Node(None, "", 1, 1, {}, 1, file)


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise error(file, [Problem(1, 1, DOCUMENT, f"{len(data)} bytes", f"at most {MAX_BYTES}")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line, col = _place(data[: err.start].decode("utf-8", "replace"))
        raise error(file, [Problem(line, col, DOCUMENT, f"byte {data[err.start]:#04x}", "UTF-8 text")]) from None
    if bad := _UNPRINTABLE.search(text):
        line, col = _place(text[: bad.start()])
        found = f"the control character U+{ord(bad[0]):04X}"
        raise error(file, [Problem(line, col, DOCUMENT, found, "printable text")])
    return text


def _place(before: str) -> Place:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _syntax(err: yaml.MarkedYAMLError) -> Problem:
    mark = err.problem_mark or err.context_mark
    line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    context = f" {err.context}" if err.context else ""
    if err.context_mark and err.context_mark is not mark:
        context += f" that starts at line {err.context_mark.line + 1}"
    return Problem(line, col, DOCUMENT, f"bad YAML ({err.problem or err}{context})", "well-formed YAML")


class _TooMuch(Exception):
    """The document is too large or too deep to go on reading."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.found)
        self.problem = problem


class _Frame:
    """A mapping or list being built."""

    __slots__ = ("anchor", "children", "col", "is_map", "items", "key", "key_place", "keys", "line", "size")

    def __init__(self, is_map: bool, anchor: str | None, place: Place) -> None:
        self.is_map = is_map
        self.anchor = anchor
        self.line, self.col = place
        self.items: dict[str, Node] = {}
        self.children: list[Node] = []
        self.keys: dict[str, Place] = {}
        self.key: str | None = None
        self.key_place: Place = place
        self.size = 1

    def node(self, file: str) -> Node:
        value: dict[str, Node] | list[Node] = self.items if self.is_map else self.children
        return Node(value, "", self.line, self.col, self.keys, self.size, file)


class _Builder:
    """Turns parser events into Nodes, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, kind is yaml.MappingStartEvent)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            frame = self._stack.pop()
            self._add(frame.node(self.file), frame.anchor)
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                raise _TooMuch(Problem(*_start(event), DOCUMENT, "a second document", "one document"))

    def path(self) -> str:
        """The field now being read, such as ``tests.a.cgroups[1]``."""
        return "".join(_steps(self._stack)).removeprefix(".") or DOCUMENT

    def _wrong(self, place: Place, found: str, expected: str) -> None:
        self.problems.append(Problem(*place, self.path(), found, expected))

    def _scalar(self, event: Any) -> None:
        place = _start(event)
        if event.tag is not None:
            self._wrong(place, f"the tag {quoted(event.tag)}", "no tags")
        text: str = event.value
        value = core_scalar(text) if event.implicit[0] else text
        top = self._stack[-1] if self._stack else None
        if top is not None and top.is_map and top.key is None:
            self._key(top, text, value, place, bool(event.implicit[0]))
        else:
            self._add(Node(value, text, *place, {}, 1, self.file), event.anchor)

    def _key(self, top: _Frame, text: str, value: Scalar, place: Place, is_plain: bool) -> None:
        top.key, top.key_place = text, place
        if value is None or isinstance(value, bool):
            self._wrong(place, f"the key {text or 'null'}", "a key that is a name")
        elif text == "<<" and is_plain:
            self._wrong(place, "a merge key (<<)", "the keys themselves, or an alias for a whole value")
        elif text in top.items:
            line, col = top.keys[text]
            self._wrong(place, f"{quoted(text)} a second time", f"each key once (first at line {line}, column {col})")

    def _open(self, event: Any, is_map: bool) -> None:
        place = _start(event)
        if event.tag is not None:
            self._wrong(place, f"the tag {quoted(event.tag)}", "no tags")
        if len(self._stack) >= MAX_DEPTH:
            raise _TooMuch(Problem(*place, self.path(), "a deeper value", f"at most {MAX_DEPTH} levels"))
        top = self._stack[-1] if self._stack else None
        if top is not None and top.is_map and top.key is None:
            raise _TooMuch(Problem(*place, self.path(), "a list or mapping as a key", "a key that is a name"))
        self._stack.append(_Frame(is_map, event.anchor, place))

    def _alias(self, event: Any) -> None:
        target = self._anchors.get(event.anchor)
        if target is None:
            found = f"the alias *{event.anchor}"
            raise _TooMuch(Problem(*_start(event), self.path(), found, "an anchor that is complete before it"))
        top = self._stack[-1] if self._stack else None
        if top is not None and top.is_map and top.key is None:
            raise _TooMuch(Problem(*_start(event), self.path(), "an alias as a key", "a key that is a name"))
        self._add(target, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        top.size += node.size
        if top.size > MAX_NODES:
            found = "a value that unfolds too far"
            raise _TooMuch(Problem(node.line, node.col, self.path(), found, f"at most {MAX_NODES} values"))
        if not top.is_map:
            top.children.append(node)
        elif top.key is not None:
            if top.key not in top.items:
                top.items[top.key], top.keys[top.key] = node, top.key_place
            top.key = None


def _start(event: Any) -> Place:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _steps(stack: list[_Frame]) -> Iterator[str]:
    for frame in stack:
        if not frame.is_map:
            yield f"[{len(frame.children)}]"
        elif frame.key is not None:
            yield f".{frame.key}"
