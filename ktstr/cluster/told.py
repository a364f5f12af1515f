"""What workers answered, one after the other, as text and as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ktstr.columns import beside, printable

T = TypeVar("T")


@dataclass(frozen=True)
class Told(Generic[T]):
    """A worker's ``answer``, or the ``error`` that there is instead. ``host``: its name, or where Dask reaches it."""

    name: str
    host: str
    answer: T | None
    error: str | None = None


def all_answered(told: Iterable[Told[T]]) -> bool:
    """Whether each worker did."""
    return all(one.answer is not None for one in told)


def heading(name: str, host: str) -> str:
    """The line above what is a worker's."""
    return printable(f"worker {name} ({host})")


def to_text(told: Sequence[Told[T]], shown: Callable[[T], str]) -> str:
    """A heading for each worker, and its answer below, as ``shown``; what strangers wrote in it is made harmless."""
    lines: list[str] = []
    for one in told:
        lines.append(heading(one.name, one.host))
        if one.answer is None:
            lines += beside("  FAIL", printable(one.error or "it does not answer"), 7)
        else:
            lines += [f"  {printable(line)}" for line in shown(one.answer).splitlines()]
    return "\n".join(lines) + "\n"


def to_value(told: Sequence[Told[T]], plain: Callable[[T], Mapping[str, Any]]) -> dict[str, Any]:
    """``workers``: each with its name, host, the error if there is one, and what is ``plain`` of its answer."""
    rows = []
    for one in told:
        own = {} if one.answer is None else plain(one.answer)
        rows.append({"name": one.name, "host": one.host, "error": one.error, **own})
    return {"workers": rows}
