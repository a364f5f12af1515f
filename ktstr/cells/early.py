"""Ending a comparison early: after a part of the runs the results are looked at, and what is decided needs no more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ktstr.results.ledger import Ledger


@dataclass
class EarlyEnd:
    """One look at the results, when all of ``cells`` have ended. ``decided``: whether more runs would tell nothing.

    ``is_over`` is asked before each cell that starts: it looks once, and gives the answer from then on. Safe from any
    thread.
    """

    ledger: Ledger
    cells: Collection[str]
    decided: Callable[[], bool]
    _answer: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_over(self) -> bool:
        """Whether the comparison is decided; False while cells that the look is at still run."""
        with self._lock:
            if self._answer is None and self.ledger.outcomes.keys() >= set(self.cells):
                self._answer = self.decided()
            return self._answer is True

    @property
    def came(self) -> bool:
        """Whether it was decided early, as far as anybody asked."""
        return self._answer is True
