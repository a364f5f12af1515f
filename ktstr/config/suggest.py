"""The nearest match that error messages offer for a name nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 128  # a longer query is no mistyped name; keeps the cost bounded for any input


def distance(a: str, b: str) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions that turn ``a`` into ``b``."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def nearest(query: str, names: Iterable[str]) -> str | None:
    """The name closest to ``query``, or None when none is within max(3, len(query) // 3) edits.

    The first of equally close names wins.
    """
    if len(query) > _LONGEST:
        return None
    limit = max(3, len(query) // 3)
    best: str | None = None
    for name in names:
        if abs(len(name) - len(query)) <= limit and (edits := distance(query, name)) <= limit:
            best, limit = name, edits - 1
    return best
