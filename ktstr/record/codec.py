"""Frozen dataclasses to plain JSON values and strictly back, driven by their type hints.

Known types: int (within 64 bits), float, bool, str, None, unions with None, Literal, fixed-type
tuples, dict with str keys, nested dataclasses. Decoding takes exactly the declared fields; one that
is None by default may be missing, since older files cannot have it.
"""

from __future__ import annotations

import dataclasses
import math
import types
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
INT_LIMIT = 2**64


class DecodeError(ValueError):
    """A value that does not fit; ``str()`` says where, what was found and what was expected."""


def encode(value: Any) -> Any:
    """Plain JSON values; tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    return value


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def decode(cls: type[T], data: object, where: str = "") -> T:
    """Build ``cls`` from ``data``. Raises DecodeError naming the field."""
    found: T = _value(cls, data, where or cls.__name__)
    return found


def _fail(where: str, found: object, expected: str) -> DecodeError:
    shown = repr(found)
    return DecodeError(f"{where}: found {shown[:60]}{'…' if len(shown) > 60 else ''}, expected {expected}")


def _object(cls: Any, data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise _fail(where, data, "an object")
    hints = _hints(cls)
    optional = {f.name for f in dataclasses.fields(cls) if f.default is None}
    for name in (*(n for n in data if n not in hints), *(n for n in hints if n not in data and n not in optional)):
        raise DecodeError(f"{where}.{name}: {'unknown field' if name in data else 'missing field'}")
    return cls(**{name: _value(hints[name], item, f"{where}.{name}") for name, item in data.items()})


def _items(args: tuple[Any, ...], data: object, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise _fail(where, data, "an array")
    if args[0] is int and all(type(item) is int and -INT_LIMIT < item < INT_LIMIT for item in data):
        return tuple(data)
    return tuple(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(data))


def _union(args: tuple[Any, ...], data: object, where: str) -> Any:
    if data is None and type(None) in args:
        return None
    (kind,) = (arg for arg in args if arg is not type(None))
    return _value(kind, data, where)


def _scalar(kind: Any, data: object, where: str) -> Any:
    if kind is int and type(data) is int and -INT_LIMIT < data < INT_LIMIT:
        return data
    if kind is float and type(data) in (int, float) and math.isfinite(data):  # type: ignore[arg-type]
        return float(data)  # type: ignore[arg-type]
    if kind in (bool, str) and type(data) is kind:
        return data
    raise _fail(where, data, "a 64-bit integer" if kind is int else f"a {kind.__name__}")


def _value(kind: Any, data: object, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is object:
        return data
    if origin in (Union, types.UnionType):
        return _union(args, data, where)
    if origin is Literal:
        if data not in args or not isinstance(data, str):
            raise _fail(where, data, "one of " + ", ".join(map(str, args)))
        return data
    if origin is tuple:
        return _items(args, data, where)
    if origin is dict:
        if not isinstance(data, dict):
            raise _fail(where, data, "an object")
        return {str(key): _value(args[1], item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _object(kind, data, where)
    return _scalar(kind, data, where)
