"""The four-state verdict, its fold, and the details that explain it.

Fail > Inconclusive > Pass > Skip: the worst of the parts is the whole, and Skip is what is left
when nothing was judged. ``error`` is no verdict: it says that the environment could not do it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias


class Verdict(enum.IntEnum):
    """Ordered from the identity of the fold upwards."""

    SKIP = 0
    PASS = 1
    INCONCLUSIVE = 2
    FAIL = 3

    @property
    def word(self) -> OutcomeWord:
        """The verdict as sidecars, JSON output and tables spell it."""
        return _WORDS[self]


OutcomeWord: TypeAlias = Literal["pass", "fail", "inconclusive", "skip", "error"]
_WORDS: dict[Verdict, OutcomeWord] = {
    Verdict.SKIP: "skip",
    Verdict.PASS: "pass",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.FAIL: "fail",
}

Kind: TypeAlias = Literal[
    "Starved", "Stuck", "Unfair", "Isolation", "Benchmark", "Migration", "PageLocality", "CrossNodeMigration",
    "SlowTier", "Monitor", "SchedulerDied", "Skip", "Other",
    # Ours, beside the reference's 13:
    "NotAttached", "Evicted", "DetachFailed", "Panic", "Deadline", "Setup", "Machine",
]  # fmt: skip


@dataclass(frozen=True)
class Detail:
    """One reason. ``worker`` is the worker's index; ``value`` and ``limit`` are in the unit the message names."""

    verdict: Verdict
    kind: Kind
    message: str
    cgroup: str | None = None
    worker: int | None = None
    value: float | None = None
    limit: float | None = None


def fold(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of the parts; Skip for no parts."""
    return max(verdicts, default=Verdict.SKIP)
