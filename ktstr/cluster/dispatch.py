"""One job on its way through the cluster: given to Dask, announced by the worker that runs it, and its answer.

Dask runs a task again, by itself, when the worker is lost that ran it or that had its result. What the workers announce
makes that a lease: the job is this asker's, who knows who began it and who measured it. A second run is let pass where
the first one came to nothing; a run after a result that was measured is refused.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

MAX_RUNS = 2  # of a job, where workers are lost that ran it
STARTED, MEASURED = "started", "measured"  # what workers announce


@dataclass
class Dispatch:
    """A submission. ``allowed``: the workers that Dask may choose; ``starts``: those that began it, in order;
    ``measured``: the first that had a result; ``lost``: those of them that are gone. Safe from any thread."""

    ticket: str
    allowed: frozenset[str]
    starts: list[str] = field(default_factory=list)
    measured: str | None = None
    lost: set[str] = field(default_factory=set)
    changed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def announced(self, what: str, address: str) -> None:
        """A worker says that it began the job, or that it measured it and keeps the result."""
        with self._lock:
            if what == STARTED:
                self.starts.append(address)
            elif what == MEASURED and self.measured is None:
                self.measured = address
        self.changed.set()

    def worker_lost(self, address: str) -> None:
        """A worker is gone."""
        with self._lock:
            if address not in self.allowed:
                return
            self.lost.add(address)
        self.changed.set()

    def runs_lost(self) -> list[str]:
        """The workers that were lost after they had begun it."""
        with self._lock:
            return [address for address in self.starts if address in self.lost]

    def given_up(self, runs_before: int) -> str | None:
        """Why this submission is given up: the address of the worker that was lost with it; None while it goes on.
        ``runs_before``: how many runs of the job were lost in earlier ones."""
        lost = self.runs_lost()
        with self._lock:
            if self.measured is not None and (self.measured in self.lost or self.starts[-1:] != [self.measured]):
                return self.measured
            if lost and runs_before + len(lost) >= MAX_RUNS:
                return lost[-1]
            if self.allowed <= self.lost:
                return lost[-1] if lost else min(self.lost)
            return None
