"""The numbers that a program printed, by dotted path. The text is a guest's: nothing about it is trusted.

Of a text that is no JSON, those that regular expressions of the declaration find. Of JSON:

The whole text is JSON, or the first region between balanced brackets that is and has numbers. Its leaves are named by
the keys that lead to them, places in arrays in decimal: ``jobs.0.read.iops``. Finite numbers count, true and false are
none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ktstr.config.model import PayloadMetric, Pick

MAX_DEPTH = 64  # objects and arrays inside each other; what lies deeper is left out
MAX_NAME = 256  # characters of a path; longer ones are left out, and those that cannot be printed
_PARSED_DEPTH = 512  # deeper text is not parsed: the parser recurses
_MARKS = re.compile(r'\\.|["\n\[\]{}]', re.DOTALL)
_CLOSES = {"]": "[", "}": "{"}


@dataclass(frozen=True)
class Numbers:
    """Values by path, in the order of the text, of two equal paths the first. ``too_deep``: some were left out."""

    values: dict[str, float]
    too_deep: bool = False


NONE = Numbers({})


def numbers(text: str) -> Numbers:
    """All numbers of what a program printed; NONE for a text without any in JSON."""
    whole = _parsed(text.strip())
    if whole is not None:
        return _leaves(whole)
    regions = (_leaves(tree) for tree in map(_parsed, _regions(text)) if tree is not None)
    return next((found for found in regions if found.values or found.too_deep), NONE)


def matched(text: str, metrics: Iterable[PayloadMetric]) -> Numbers:
    """The numbers of a plain text: for each metric what its regular expression finds. Finite ones count."""
    found: dict[str, float] = {}
    for metric in metrics:
        values = [
            value for one in re.finditer(metric.match, text, re.MULTILINE) if (value := _finite(one[1])) is not None
        ]
        if values:
            found[metric.name] = _PICKS[metric.pick](values)
    return Numbers(found)


def _finite(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


_PICKS: dict[Pick, Callable[[list[float]], float]] = {
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "min": min,
    "max": max,
    "mean": lambda values: math.fsum(values) / len(values),
    "sum": math.fsum,
    "count": lambda values: float(len(values)),
}

_Tree: TypeAlias = dict[str, object] | list[object]


def _parsed(text: str) -> _Tree | None:
    """The object or array that ``text`` is; None for anything else. NaN and infinities are values, but no numbers."""
    if not text.startswith(("{", "[")) or _depth(text) > _PARSED_DEPTH:
        return None
    try:
        value = json.loads(text, parse_int=float, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _depth(text: str) -> int:
    """How deep brackets go that are in no string; of what is no JSON at least that."""
    deepest = depth = 0
    quoted = False
    for mark in _MARKS.finditer(text):
        sign = mark[0]
        if sign == '"':
            quoted = not quoted
        elif not quoted and sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not quoted and sign in _CLOSES:
            depth -= 1
    return deepest


def _regions(text: str) -> Iterator[str]:
    """What stands between balanced brackets, outermost first where one holds the other, found in one pass.

    Strings count inside of brackets only, and end with their line: JSON has no line breaks in them.
    """
    closed: list[tuple[int, int]] = []  # disjoint, in order
    opened: list[tuple[str, int]] = []
    quoted = False
    for mark in _MARKS.finditer(text):
        sign = mark[0]
        if sign == "\n":
            opened, quoted = ([] if quoted else opened), False
        elif sign == '"':
            quoted = bool(opened) and not quoted
        elif quoted:
            continue
        elif sign in "[{":
            opened.append((sign, mark.start()))
        elif sign in _CLOSES and opened:
            bracket, begin = opened.pop()
            if bracket != _CLOSES[sign]:
                opened.clear()
                continue
            while closed and closed[-1][0] > begin:
                closed.pop()
            closed.append((begin, mark.end()))
    return (text[begin:end] for begin, end in closed)


def _leaves(tree: _Tree) -> Numbers:
    """The finite numbers in it, without recursion."""
    found: dict[str, float] = {}
    too_deep = False
    branches = [_items("", tree)]
    while branches:
        step = next(branches[-1], None)
        if step is None:
            branches.pop()
            continue
        path, value = step
        if isinstance(value, (dict, list)):
            too_deep |= len(branches) >= MAX_DEPTH
            if len(branches) < MAX_DEPTH:
                branches.append(_items(f"{path}.", value))
        elif isinstance(value, float) and math.isfinite(value):
            found.setdefault(path, value)
    return Numbers(found, too_deep)


def _items(prefix: str, value: _Tree) -> Iterator[tuple[str, object]]:
    """What is directly in it, by path."""
    pairs = value.items() if isinstance(value, dict) else ((str(place), one) for place, one in enumerate(value))
    for key, one in pairs:
        if len(prefix) + len(key) <= MAX_NAME and key.isprintable():
            yield prefix + key, one
