"""Which few of many changes are enough for a failure: delta debugging (Zeller and Hildebrandt 2002, ddmin).

What is left is 1-minimal: without any one of its changes the failure is gone. It need not be the smallest there is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import TypeAlias

Subset: TypeAlias = tuple[int, ...]


def ddmin(changes: Sequence[int]) -> Generator[tuple[Subset, ...], int | None, Subset]:
    """Minimise ``changes``, with all of which the failure comes and without any of which it does not.

    Yields candidates, and is sent the place of the first of them with which the failure comes, None where it comes with
    none of them. That candidate is from then on what is minimised. Returns what is left.
    """
    current, parts = tuple(changes), 2
    while len(current) > 1:
        chunks = _split(current, parts)
        rests = [_without(current, chunk) for chunk in chunks] if parts > 2 else []
        first = yield (*chunks, *rests)
        if first is None:
            if parts == len(current):
                break
            parts = min(2 * parts, len(current))
        elif first < len(chunks):
            current, parts = chunks[first], 2
        else:
            current, parts = rests[first - len(chunks)], max(parts - 1, 2)
    return current


def _split(changes: Subset, parts: int) -> list[Subset]:
    """So many parts, in order, of sizes that differ by one at most; as many as there are changes at most."""
    cuts = [len(changes) * i // parts for i in range(parts + 1)]
    return [changes[low:high] for low, high in pairwise(cuts)]


def _without(changes: Subset, gone: Subset) -> Subset:
    return tuple(change for change in changes if change not in gone)
