"""Durations with their unit, as ktstr.yaml has them."""

from __future__ import annotations

import re
from decimal import Decimal

DURATION_RULE = "a duration with its unit, such as 2s, 500ms or 100us"
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|ms|s|m)")
_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}


def parse_duration(text: str) -> int:
    """Nanoseconds of ``2s``, ``500ms``, ``1.5ms``. Raises ValueError on anything else, a bare number included."""
    m = _DURATION.fullmatch(text)
    if m is None:
        raise ValueError(DURATION_RULE)
    ns = Decimal(m[1]) * _UNIT[m[2]]
    if ns != int(ns):
        raise ValueError("a whole number of nanoseconds")
    return int(ns)


def render_duration(ns: int) -> str:
    """The shortest exact spelling, as a message shows a bound."""
    for unit in ("s", "ms", "us"):
        if ns % _UNIT[unit] == 0:
            return f"{ns // _UNIT[unit]}{unit}"
    return f"{ns}ns"
