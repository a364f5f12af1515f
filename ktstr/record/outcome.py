"""What came of a cell, in one word, and which words mean that it did not go well.

A ``pass`` means that every gate was evaluated and held. ``inconclusive``: one could not be evaluated. ``error``: the
environment could not do it, so nothing is said about kernel or scheduler. ``not run``: the command ended before.
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

ReasonVerdict: TypeAlias = Literal["pass", "fail", "inconclusive", "skip"]
ReasonKind: TypeAlias = Literal[
    "Starved", "Stuck", "Unfair", "Isolation", "Benchmark", "Migration", "PageLocality", "CrossNodeMigration",
    "SlowTier", "Monitor", "SchedulerDied", "Skip", "Other",
    # Ours, beside the reference's 13:
    "NotAttached", "Evicted", "DetachFailed", "Panic", "Deadline", "Setup", "Machine", "NotAsExpected", "Invariant",
    "Temporal",
    "Callback", "Payload", "Bandwidth", "Cleanup",
]  # fmt: skip


class Outcome(enum.StrEnum):
    """The words of sidecars, JSON output and tables, in the order in which they are counted."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    SKIP = "skip"
    ERROR = "error"
    NOT_RUN = "not run"

    @property
    def unsuccessful(self) -> bool:
        """Whether the cell was run, or tried, and did not go well: the user has to look at it."""
        return self in UNSUCCESSFUL

    @property
    def judged(self) -> bool:
        """Whether a measurement was judged: there is a sidecar, and what was measured may be up to date."""
        return self in JUDGED


UNSUCCESSFUL = frozenset({Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.ERROR})
JUDGED = frozenset({Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE})
