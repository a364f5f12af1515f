"""The result of one ``perf_delta`` as a value: what was compared, what was found, and what could not be.

The command fills it, ``stats.perf.outputs`` and its neighbours write it: nothing here reads or runs anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.config.model import Better
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.stats.inference.verdicts import MetricVerdict, Rule, Word

SideName: TypeAlias = Literal["a", "b"]

BASELINE = "BASELINE"


@dataclass(frozen=True)
class Finding:
    """One metric of one scenario, A (the baseline) against B (the candidate), and what the verdict's rule did not know.

    ``verdict.scenario``: what the two sides have in common, such as ``test/preset/kernel/scheduler``. ``better``: which
    direction is; None for an informational metric. ``phase``: None for the whole run, 0 for BASELINE, 1..N for a step.
    ``gate``: the declared assertion that it was judged by. ``must_fail``: the user wants a regression of it to fail.
    """

    test: str
    verdict: MetricVerdict
    unit: str = ""
    better: Better | None = None
    phase: int | None = None
    phase_label: str = ""
    gate: PerfDeltaAssertion | None = None
    must_fail: bool = False

    @property
    def word(self) -> Word:
        return self.verdict.word

    @property
    def gates(self) -> bool:
        """Whether a regression of it alone fails the comparison."""
        return self.gate is not None or self.must_fail

    @property
    def fails(self) -> bool:
        """Whether it alone fails the comparison."""
        return self.gates and self.word is Word.REGRESSED


@dataclass(frozen=True)
class Unevaluated:
    """A declared gate that nothing was judged by, and why."""

    test: str
    gate: PerfDeltaAssertion
    why: str


@dataclass(frozen=True)
class Excluded:
    """Runs of one side, and how many of them were not compared, by why."""

    side: SideName
    runs: int
    skipped: int = 0
    failed: int = 0
    inconclusive: int = 0
    expected_failure: int = 0

    @property
    def comparable(self) -> int:
        return self.runs - self.skipped - self.failed - self.inconclusive - self.expected_failure


def excluded(side: SideName, runs: Sequence[tuple[str, bool]]) -> Excluded:
    """The count of a side's ``runs``: of each its verdict, and whether that is a failure which was expected."""
    verdicts = Counter(verdict for verdict, _ in runs)
    return Excluded(
        side,
        len(runs),
        skipped=verdicts[Outcome.SKIP],
        failed=verdicts[Outcome.FAIL],
        inconclusive=verdicts[Outcome.INCONCLUSIVE],
        expected_failure=sum(expected and verdict == Outcome.PASS for verdict, expected in runs),
    )


@dataclass(frozen=True)
class Divergence:
    """The first event in which the two sides of one cell differ. ``at_ms``: guest time since the scenario's start."""

    cell: str
    at_ms: float
    a: str
    b: str


@dataclass(frozen=True)
class PerfDelta:
    """One comparison.

    ``baseline``, ``head``: the two sides' labels (short commits, ``-dirty``); ``chosen``: how the baseline was found,
    in one sentence. ``rule``: None where averages were compared. ``runs``: how many of each side were asked for;
    ``stopped_after``: how many were made when everything was decided before. ``scenarios``: how many were on both
    sides. ``same_cells``: cells whose inputs are equal on both sides, not run. ``failures``: why it fails, a sentence
    each; empty when it does not. ``cutoff``: from how many regressions, or improvements, the whole is called that; 0
    turns the count off. ``title``: what the comparison is called.
    """

    baseline: str
    head: str
    chosen: str
    rule: Rule | None
    runs: int
    scenarios: int
    findings: tuple[Finding, ...] = ()
    same_cells: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    unevaluated: tuple[Unevaluated, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cutoff: int = 5
    noise_spread_threshold_pct: float = 5.0
    stopped_after: int | None = None
    title: str = "perf-delta"

    @property
    def whole_run(self) -> tuple[Finding, ...]:
        """The findings over whole runs: those that are counted."""
        return tuple(finding for finding in self.findings if finding.phase is None)

    @property
    def by_phase(self) -> tuple[Finding, ...]:
        """The findings within single phases."""
        return tuple(finding for finding in self.findings if finding.phase is not None)

    @property
    def failed(self) -> bool:
        return bool(self.failures)

    @property
    def counts(self) -> Mapping[Word, int]:
        """How many findings over whole runs have each verdict; every verdict is a key."""
        found = Counter(finding.word for finding in self.whole_run)
        return {word: found[word] for word in Word}

    @property
    def overall(self) -> str:
        """REGRESSED when it fails, IMPROVED from ``cutoff`` improvements on, both, or STABLE."""
        improved = 1 <= self.cutoff <= self.counts[Word.IMPROVED]
        words = (["REGRESSED"] if self.failed else []) + (["IMPROVED"] if improved else [])
        return " + ".join(words) or "STABLE"


def phase_name(phase: int | None, label: str = "") -> str:
    """How a phase is called: ``whole run``, ``0: BASELINE``, ``2: Step[1]``."""
    if phase is None:
        return "whole run"
    return f"{phase}: {label or (BASELINE if phase == 0 else f'Step[{phase - 1}]')}"
