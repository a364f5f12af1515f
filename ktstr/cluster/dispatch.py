"""One job on its way through the cluster: given to Dask, announced by the worker that runs it, and its answer.

Dask runs a task again, by itself, when the worker is lost that ran it or that had its result. What the workers announce
makes that a lease: the job is this asker's, who knows who began it and who measured it. A second run is let pass where
the first one came to nothing; a run after a result that was measured is refused.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

MAX_RUNS = 2  # of a job, where workers are lost that ran it


@dataclass
class Dispatch:
    """A submission. ``allowed``: the workers that Dask may choose; ``starts``: those that began it, in order;
    ``measured``: the one that had a result. ``lost``: those of them that are gone. Safe from any thread."""

    ticket: str
    allowed: set[str]
    starts: list[str] = field(default_factory=list)
    measured: str | None = None
    lost: set[str] = field(default_factory=set)
    changed: threading.Event = field(default_factory=threading.Event)

    def announced(self, what: str, address: str) -> None:
        """A worker says that it began the job, or that it measured it."""
        if what == "started":
            self.starts.append(address)
        elif what == "measured":
            self.measured = address
        self.changed.set()

    def worker_lost(self, address: str) -> None:
        """A worker is gone."""
        if address in self.allowed or address in self.starts:
            self.allowed.discard(address)
            self.lost.add(address)
            self.changed.set()

    def given_up(self, runs_before: int) -> str | None:
        """Why this submission is given up: the address of the worker that was lost with it; None while it goes on.
        ``runs_before``: how many runs of the job began in earlier ones."""
        if self.measured is not None and (self.measured in self.lost or self.starts[-1] != self.measured):
            return self.measured
        if runs_before + len(self.starts) > MAX_RUNS:
            return self.starts[-2] if len(self.starts) > 1 else self.starts[-1]
        if not self.allowed:
            return self.starts[-1] if self.starts else next(iter(self.lost), None)
        return None
