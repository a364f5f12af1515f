"""What is wrong with a ktstr.yaml: every problem with its place, raised together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ktstr.config.suggest import nearest
from ktstr.errors import InputError

_SHOWN = 10
_FOUND_WIDTH = 60


class Problem(NamedTuple):
    """One thing wrong at a place (both from 1). ``path`` is the field, such as ``tests.a.duration``.

    ``origin``: the file, where it is not the one that all is about.
    """

    line: int
    col: int
    path: str
    found: str
    expected: str
    nearest: str | None = None
    origin: str = ""

    def text(self, file: str) -> str:
        hint = "" if self.nearest is None else f", nearest match {self.nearest!r}"
        path = self.path if self.path.isprintable() else ascii(self.path)
        return (
            f"{self.origin or file}:{self.line}:{self.col} {path}: found {self.found}, expected {self.expected}{hint}"
        )


def quoted(text: str) -> str:
    """Text from the user as it may stand in a message: one line, bounded, control characters escaped."""
    shown = text if len(text) <= _FOUND_WIDTH else text[: _FOUND_WIDTH - 3] + "..."
    return repr(shown)


def nearest_of(query: str, names: Iterable[str]) -> str | None:
    """As ``suggest.nearest``, and None for a query that could match anything."""
    return nearest(query, names) if query else None


def error(file: str, problems: Iterable[Problem]) -> InputError:
    """One error for all problems, by place, without repeats; the first ten are spelled out.

    Those of ``file`` itself come first.
    """
    ordered = sorted(dict.fromkeys(problems), key=lambda p: (p.origin, p.line, p.col, p.path, p.found))
    lines = [p.text(file) for p in ordered[:_SHOWN]]
    if len(ordered) > _SHOWN:
        lines.append(f"{file}: and {len(ordered) - _SHOWN} more")
    return InputError("\n".join(lines))
