"""A result of ``perf_delta``, as its ``json=1`` wrote it to a file, as a report.

The file comes from whoever made it. What is needed of it is checked here; what else it has is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

from msgspec import Struct

from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, read_json
from ktstr.record.codec import DecodeError, decode
from ktstr.record.numbers import Count, Number
from ktstr.stats.inference.verdicts import Rule, Word
from ktstr.stats.perf.result import phase_name
from ktstr.stats.report.comparison import ComparisonReport, Divergent, LeftOut
from ktstr.stats.report.distribution import MetricSpread, Samples, Scenario, Shift, Side
from ktstr.stats.report.text import counted


class DeltaSide(Struct, frozen=True):
    """Runs of one side. ``center``: their median, or their mean under the older rule."""

    n: Count
    center: Number | None
    low: Number | None
    high: Number | None


class DeltaGate(Struct, frozen=True):
    """The metric that a test declares a limit of."""

    metric: str


class DeltaFinding(Struct, frozen=True):
    """One metric of one scenario."""

    scenario: str
    metric: str
    unit: str
    better: Literal["higher", "lower"] | None
    phase: Count | None
    verdict: Word
    reason: str | None
    a: DeltaSide
    b: DeltaSide
    shift: Number | None
    shift_low: Number | None
    shift_high: Number | None
    more: Count | None
    noisy_spread: bool
    gate: DeltaGate | None


class DeltaUnevaluated(Struct, frozen=True):
    """A declared limit that nothing was judged by."""

    test: str
    gate: DeltaGate
    why: str


class DeltaExcluded(Struct, frozen=True):
    """Runs of one side that were not compared."""

    side: Literal["a", "b"]
    runs: Count
    skipped: Count
    failed: Count
    inconclusive: Count
    expected_failure: Count


class DeltaDivergence(Struct, frozen=True):
    """The first event in which the sides of a cell differ."""

    cell: str
    at_ms: Number
    a: str
    b: str


class DeltaDocument(Struct, frozen=True):
    """What a report has of ``schemas/perf_delta.schema.json``."""

    baseline: str
    head: str
    chosen: str
    rule: Rule | None
    runs: Count
    stopped_after: Count | None
    overall: str
    failures: tuple[str, ...]
    counts: dict[str, Count]
    findings: tuple[DeltaFinding, ...]
    unevaluated: tuple[DeltaUnevaluated, ...]
    same_cells: tuple[str, ...]
    excluded: tuple[DeltaExcluded, ...]
    divergences: tuple[DeltaDivergence, ...]
    notes: tuple[str, ...]


def read_delta(path: Path) -> ComparisonReport:
    """The report of such a file. Raises InputError naming the file and its first wrong field."""
    try:
        found = decode(DeltaDocument, read_json(path, SIDECAR_CAP), "result")
    except DecodeError as err:
        raise InputError(f"{path}: {err}", fix="doit perf_delta json=1 > FILE makes one") from err
    return report_of_delta(found)


def report_of_delta(found: DeltaDocument) -> ComparisonReport:
    """The same as a report. What has no number on a side was not compared."""
    runs = found.runs if found.stopped_after is None else found.stopped_after
    return ComparisonReport(
        a=found.baseline,
        b=found.head,
        a_runs=runs,
        b_runs=runs,
        overall=f"{found.overall}. The baseline is the {found.chosen}",
        scenarios=tuple(_scenarios(found)),
        counts=tuple(found.counts.items()),
        why=found.failures,
        left_out=tuple(_left_out(found)),
        notes=tuple(_notes(found)),
        center="median" if found.rule is Rule.RANKS else "mean",
        divergences=tuple(Divergent(one.cell, one.at_ms, one.a, one.b) for one in found.divergences),
    )


def _name(finding: DeltaFinding) -> str:
    return finding.scenario if finding.phase is None else f"{finding.scenario}, {phase_name(finding.phase)}"


def _scenarios(found: DeltaDocument) -> Iterator[Scenario]:
    for name, members in groupby(sorted(found.findings, key=_name), key=_name):
        metrics = tuple(spread for finding in members if (spread := _spread(finding)) is not None)
        if metrics:
            yield Scenario(name, ("A", "B"), metrics)


def _spread(finding: DeltaFinding) -> MetricSpread | None:
    a, b = _samples(finding.a), _samples(finding.b)
    if a is None or b is None:
        return None
    shift = None if finding.shift is None else Shift(finding.shift, finding.shift_low, finding.shift_high)
    sides = (Side("A", a), Side("B", b, shift))
    return MetricSpread(finding.metric, finding.unit, finding.better, sides, finding.verdict.value, _note(finding))


def _samples(side: DeltaSide) -> Samples | None:
    if side.center is None:
        return None
    low, high = (side.center if bound is None else bound for bound in (side.low, side.high))
    return Samples((), side.n, side.center, low, high)


def _note(finding: DeltaFinding) -> str:
    parts = [finding.reason or ""]
    if finding.more is not None:
        parts.append(f"about {counted(finding.more, 'more run')} a side would decide")
    if finding.gate is not None:
        parts.append("its test declares a limit")
    if finding.noisy_spread:
        parts.append("its runs spread widely")
    return "; ".join(part for part in parts if part)


def _left_out(found: DeltaDocument) -> Iterator[LeftOut]:
    for gate in found.unevaluated:
        yield LeftOut(f"the limit of {gate.gate.metric} that {gate.test} declares", gate.why)
    for side in found.excluded:
        reasons = {
            "skipped": side.skipped,
            "failed": side.failed,
            "inconclusive": side.inconclusive,
            "failed as its test expects": side.expected_failure,
        }
        said = ", ".join(f"{n} {word}" for word, n in reasons.items() if n)
        if said:
            yield LeftOut(f"of the {counted(side.runs, 'run')} of {side.side.upper()}", said)
    for finding in found.findings:
        if finding.a.center is None or finding.b.center is None:
            yield LeftOut(f"{finding.metric} of {_name(finding)}", finding.reason or "a side has no number")
    if found.same_cells:
        more = f" and {len(found.same_cells) - 3} more" if len(found.same_cells) > 3 else ""
        yield LeftOut(", ".join(found.same_cells[:3]) + more, "their inputs are equal on both sides, so not run")


def _notes(found: DeltaDocument) -> Iterator[str]:
    yield from found.notes
    if found.stopped_after is not None:
        yield f"stopped after {found.stopped_after} of {found.runs} runs a side: everything was decided"
