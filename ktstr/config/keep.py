"""Which of a seed's changes are kept: their numbers, as people write them in ``keep=`` and as cells are named."""

from __future__ import annotations

from collections.abc import Sequence

from ktstr import cpulist
from ktstr.config.select import parse_seeds

NONE = "none"


def parse_keep(items: Sequence[str]) -> tuple[int, ...]:
    """Numbers of changes in ascending order, from words such as ``3`` and ``0..2``; ``none`` alone is no number.

    Raises ValueError saying what was expected.
    """
    if list(items) == [NONE]:
        return ()
    try:
        return tuple(sorted(parse_seeds(items)))
    except ValueError:
        raise ValueError("numbers of changes, such as 3 or 0..2,5, or none") from None


def keep_words(keep: Sequence[int]) -> str:
    """What ``parse_keep`` reads these numbers from, which ascend: ``0..2,5``."""
    return cpulist.render(keep).replace("-", "..") or NONE
