"""Records and sidecars to plain JSON values and strictly back, driven by their types.

Decoding takes exactly the declared fields; only those with a default may be missing. What a JSON parser lets pass is
refused where a file is read (``files.read_json``: size, duplicate keys, NaN, nesting), what the types cannot say is
refused here: integers beyond 64 bits, and nesting that is too deep for the decoder.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import types
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")
INT_LIMIT = 2**64

_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_FIELD_PROBLEM = re.compile(r"Object (?:contains (?P<unknown>unknown)|missing required) field `(?P<name>.*)`")
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`, got `[^`]*`")
_OUT_OF_BOUNDS = re.compile(r"Expected `(?P<kind>\w+)` (?P<bound>.*)")
_KINDS = {
    "int": "a 64-bit integer",
    "int | float": "a number",
    "float": "a float",
    "bool": "a bool",
    "str": "a str",
    "object": "an object",
    "array": "an array",
}
_TYPES = threading.Lock()
_ready: set[Any] = set()
_NOTHING = object()  # a value that the path of an error does not lead to


class DecodeError(ValueError):
    """A value that does not fit; ``str()`` says where, what was found and what was expected."""


def encode(value: Any) -> Any:
    """Plain JSON values; tuples stay tuples, which JSON writes as arrays."""
    return msgspec.to_builtins(value)


def ready(cls: type[T]) -> type[T]:
    """The same type, which any thread may decode from now on.

    msgspec makes what it knows of a type as it first decodes it, in Python; another thread that decodes it meanwhile
    meets it half made, and the process dies of a segmentation fault (msgspec 0.22).
    """
    if cls not in _ready:
        with _TYPES:
            with contextlib.suppress(msgspec.ValidationError):
                msgspec.convert(None, cls)  # all parts of it too, before it finds that this is none
            _ready.add(cls)
    return cls


def decode(cls: type[T], data: object, where: str = "") -> T:
    """Build ``cls`` from parsed JSON. Raises DecodeError naming the field, in a path that begins with ``where``."""
    root = where or cls.__name__
    try:
        value = msgspec.convert(data, ready(cls))
        beyond = _beyond_bounds(data)
    except msgspec.ValidationError as err:
        raise DecodeError(_explained(str(err), cls, data, root)) from err
    except RecursionError as err:
        raise DecodeError(f"{root}: is nested too deeply") from err
    if beyond is not None:
        raise DecodeError(f"{root}{beyond}")
    return value


def _beyond_bounds(data: object) -> str | None:
    """The path and the fault of the first number that no field may hold; None when there is none."""
    if isinstance(data, dict):
        for key, item in data.items():
            if not isinstance(item, str) and (fault := _beyond_bounds(item)) is not None:
                return f".{key}{fault}"
    elif isinstance(data, list):
        if _are_small_integers(data):
            return None
        for index, item in enumerate(data):
            if (fault := _beyond_bounds(item)) is not None:
                return f"[{index}]{fault}"
    elif isinstance(data, int) and not -INT_LIMIT < data < INT_LIMIT:
        return f": {_found(data)}, expected a 64-bit integer"
    elif isinstance(data, float) and not math.isfinite(data):
        return f": {_found(data)}, expected a finite number"
    return None


def _are_small_integers(items: Sequence[Any]) -> bool:
    """Whether all are integers of 64 bits: a quick look at what may be a million samples."""
    kinds = set(map(type, items))
    return kinds == {int} and min(items) > -INT_LIMIT and max(items) < INT_LIMIT


def _found(value: object) -> str:
    shown = repr(value)
    return f"found {shown[:60]}{'…' if len(shown) > 60 else ''}"


def _explained(error: str, cls: type, data: object, root: str) -> str:
    """msgspec's message in our words: the path from ``root``, what was found there and what was expected."""
    problem, _, path = error.partition(" - at `$")
    path = path.removesuffix("`")
    if (field := _FIELD_PROBLEM.fullmatch(problem)) is not None:
        return f"{root}{path}.{field['name']}: {'unknown' if field['unknown'] else 'missing'} field"
    kind, value = cls, data
    for step in _STEP.finditer(path):
        kind, value = _kind_within(kind, step), _value_within(value, step)
    expected = _expected(problem, kind)
    if expected is None:
        return f"{root}{path}: {problem}"
    return f"{root}{path}: {expected}" if value is _NOTHING else f"{root}{path}: {_found(value)}, {expected}"


def _expected(problem: str, kind: Any) -> str | None:
    """What a value of this kind has to be; None when the problem is a sentence of a type's own check."""
    words = [word for form in _forms(kind) if get_origin(form) is Literal for word in get_args(form)]
    if words:
        return "expected one of " + ", ".join(map(str, words))
    if (wrong := _WRONG_TYPE.fullmatch(problem)) is not None:
        expected = wrong["expected"].removesuffix(" | null")
        return f"expected {_KINDS.get(expected, expected)}"
    if (bounds := _OUT_OF_BOUNDS.fullmatch(problem)) is not None:
        return f"expected {_KINDS.get(bounds['kind'], bounds['kind'])} {bounds['bound']}"
    return None


def _forms(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have: those of a union, or the one there is."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _kind_within(kind: Any, step: re.Match[str]) -> Any:
    """The type of a field, an item or a value of a mapping; None where the path leads nowhere."""
    for form in _forms(kind):
        if step["field"] is not None and isinstance(form, type) and issubclass(form, msgspec.Struct):
            return get_type_hints(form).get(step["field"])
        if step["index"] is not None and get_origin(form) is tuple:
            return get_args(form)[0]
        if step["field"] is None and step["index"] is None and get_origin(form) is dict:
            return get_args(form)[1]
    return None


def _value_within(value: object, step: re.Match[str]) -> object:
    if step["field"] is not None and isinstance(value, dict):
        return value.get(step["field"], _NOTHING)
    if step["index"] is not None and isinstance(value, list):
        return value[int(step["index"])]
    return _NOTHING
