"""Which of a seed's changes are kept: their numbers, as people write them in ``keep=`` and as cells are named."""

from __future__ import annotations

from collections.abc import Sequence

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
    runs: list[list[int]] = []
    for number in keep:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or NONE
