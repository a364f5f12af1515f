"""The four-state verdict, its fold, and the details that explain it.

Fail > Inconclusive > Pass > Skip: the worst of the parts is the whole, and Skip is what is left
when nothing was judged. ``error`` is no verdict: it says that the environment could not do it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from ktstr.record.outcome import Outcome, ReasonKind, ReasonVerdict


class Verdict(enum.IntEnum):
    """Ordered from the identity of the fold upwards."""

    SKIP = 0
    PASS = 1
    INCONCLUSIVE = 2
    FAIL = 3

    @property
    def word(self) -> ReasonVerdict:
        """The verdict as sidecars spell it."""
        return _WORDS[self]

    @property
    def outcome(self) -> Outcome:
        """What a cell with this verdict came to."""
        return Outcome(self.word)


_WORDS: dict[Verdict, ReasonVerdict] = {
    Verdict.SKIP: "skip",
    Verdict.PASS: "pass",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.FAIL: "fail",
}


@dataclass(frozen=True)
class Detail:
    """One reason. ``worker`` is the worker's index; ``value`` and ``limit`` are in the unit the message names."""

    verdict: Verdict
    kind: ReasonKind
    message: str
    cgroup: str | None = None
    worker: int | None = None
    value: float | None = None
    limit: float | None = None


def fold(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of the parts; Skip for no parts."""
    return max(verdicts, default=Verdict.SKIP)
