"""SVG elements as text that is safe to put into HTML, and the scales that charts are drawn by.

All text and every attribute is escaped here; colours are CSS classes of ``templates/style.css``, so that a drawing
follows light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ktstr.stats.report.text import shown


def number(value: float) -> str:
    """A coordinate: at most one decimal. Raises ValueError for what is not finite."""
    if not math.isfinite(value):
        raise ValueError(f"found coordinate {value}, expected a finite number")
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def element(name: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """One element. ``class_`` is ``class`` and ``_`` is ``-``; an attribute that is None is left out."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            text = number(value) if isinstance(value, int | float) else shown(value)
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    if not children:
        return Markup("".join([*parts, "/>"]))
    inside = (child if isinstance(child, Markup) else escape(shown(child)) for child in children)
    return Markup("".join([*parts, ">", *inside, f"</{name}>"]))


def drawing(width: float, height: float, label: str, children: Sequence[Markup]) -> Markup:
    """A whole ``<svg>`` of that size in CSS pixels, that a screen reader reads as an image called ``label``."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


@dataclass(frozen=True)
class Scale:
    """A linear map of ``[low, high]`` to ``[start, end]`` pixels. What lies outside is put on the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high <= self.low:
            return (self.start + self.end) / 2
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def padded(values: Sequence[float], start: float, end: float) -> Scale:
    """A scale on which these values, at least one, have some room at both ends."""
    low, high = min(values), max(values)
    room = (high - low) * 0.04 or abs(high) * 0.04 or 1.0
    return Scale(low - room, high + room, start, end)


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """About ``wanted`` round values within ``[low, high]``: steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= rough), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]
