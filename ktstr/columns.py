"""Text within 80 columns. What a user copies, a path, a key or a command, is never broken."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial

WIDTH = 80

_fold = partial(textwrap.wrap, width=WIDTH, break_long_words=False, break_on_hyphens=False)


def prose(text: str, indent: str) -> list[str]:
    """``text`` folded; what goes on is indented by two more."""
    return _fold(text, initial_indent=indent, subsequent_indent=indent + "  ")


def beside(head: str, text: str, column: int) -> list[str]:
    """``head``, then ``text`` folded from ``column`` on; below the head if that is too long."""
    if len(head) >= column:
        return [head, *_fold(text, initial_indent=" " * column, subsequent_indent=" " * column)]
    return _fold(text, initial_indent=head.ljust(column), subsequent_indent=" " * column) or [head]


def printable(text: str) -> str:
    """One line of a terminal's own: what a file brought, with ``?`` in place of what would not be shown as it is."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """The same of a text of several lines; tabs become spaces."""
    return "\n".join(printable(line) for line in text.expandtabs().split("\n"))


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), width: int = WIDTH
) -> list[str]:
    """Lines of a table without rules; ``right``: the columns that are aligned to the right.

    ``width``: more than 80 columns for a table of names that are copied.
    """
    from io import StringIO

    from rich.console import Console  # slow to import
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="")
    for at, name in enumerate(header):
        made.add_column(name, justify="right" if at in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    out = StringIO()
    Console(file=out, width=width, color_system=None).print(made)
    return [line.rstrip() for line in out.getvalue().splitlines()]
