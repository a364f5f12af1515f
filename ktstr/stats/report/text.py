"""What a page says of a value, and what it makes of text that others wrote."""

from __future__ import annotations

from ktstr.checks.quote import plain

TEXT_MAX = 4000
# Harmless, and our own.
_KEPT = frozenset("\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")


def shown(text: str) -> str:
    """``text`` without terminal escapes, what cannot be printed replaced, and cut when it is absurdly long."""
    kept = "".join(c if c.isprintable() or c in _KEPT else "\N{REPLACEMENT CHARACTER}" for c in plain(text)[:TEXT_MAX])
    return kept if len(text) <= TEXT_MAX else kept + " \N{HORIZONTAL ELLIPSIS}"


def figure(value: float | None) -> str:
    """A number with four significant digits and thin spaces between thousands; a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    if value == 0:
        return "0"
    if abs(value) >= 1e15 or abs(value) < 1e-4:
        return f"{value:.3g}"
    digits = 0 if abs(value) >= 1000 or float(value).is_integer() else max(0, 3 - _exponent(value))
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """``figure`` with its sign, plus included."""
    return f"+{figure(value)}" if value > 0 else figure(value)


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{figure(n)} {noun if n == 1 else plural or noun + 's'}"
