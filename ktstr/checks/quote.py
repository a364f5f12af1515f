"""Quoting what a guest, a scheduler or a kernel said, so that it is safe to print and short."""

from __future__ import annotations

import re

LINE_MAX = 300
# Terminal escapes: CSI and OSC sequences, then every other control character but tab.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(line: str) -> str:
    """One line without control characters, at most LINE_MAX long."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", line)).replace("\t", " ").replace("\n", " ").strip()
    return text if len(text) <= LINE_MAX else text[: LINE_MAX - 1] + "…"


def lines(text: str) -> list[str]:
    """The non-blank lines of a log, cleaned."""
    return [found for line in text.splitlines() if (found := clean(line))]


def last_words(text: str, count: int = 3) -> str:
    """The last non-blank lines of a log, joined by `` | ``; empty when it said nothing."""
    return " | ".join(lines(text)[-count:])
