"""What a report has to say beside itself: on standard error, so that standard output holds the report alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def warn(texts: Iterable[str | None]) -> None:
    """Each text, line by line; whatever strangers wrote in it is made harmless. None says nothing."""
    from ktstr.columns import printable

    for text in texts:
        for line in (text or "").splitlines():
            sys.stderr.write(f"{printable(line)}\n")
