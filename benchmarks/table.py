"""Figures against budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One figure: ours, the peer's in the same unit (None without one), and the budget.

    The budget is for the ratio to the peer, or for the figure itself where there is no peer.
    """

    what: str
    ours: float
    unit: str
    peer: float | None = None
    budget: float | None = None

    @property
    def judged(self) -> float:
        """What the budget is for."""
        return self.ours if self.peer is None else self.ours / self.peer


def interleaved(runs: int, ours: Callable[[], float], peer: Callable[[], float]) -> tuple[float, float]:
    """Medians of both, run in turns so that a busy host meets both alike."""
    pairs = [(ours(), peer()) for _ in range(runs)]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def render(rows: Sequence[Row]) -> str:
    """The table as text; a figure above its budget is marked."""
    head = f"{'WHAT':<58}{'OURS':>12}{'PEER':>12}{'RATIO':>8}{'BUDGET':>9}"
    return "\n".join([head, *map(_line, rows)]) + "\n"


def _line(row: Row) -> str:
    peer = "-" if row.peer is None else f"{row.peer:.2f} {row.unit}"
    ratio = "-" if row.peer is None else f"{row.judged:.2f}x"
    limit = "-" if row.budget is None else f"{row.budget:g}{'x' if row.peer is not None else ' ' + row.unit}"
    over = "  OVER" if row.budget is not None and row.judged > row.budget else ""
    return f"{row.what:<58}{f'{row.ours:.2f} {row.unit}':>12}{peer:>12}{ratio:>8}{limit:>9}{over}"
