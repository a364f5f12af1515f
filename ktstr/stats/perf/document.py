"""``perf_delta``'s result as JSON (``schemas/perf_delta.schema.json``) and as the value of a goal."""

from __future__ import annotations

import json
from typing import Any

from msgspec import to_builtins

from ktstr.stats.perf.result import Divergence, Excluded, Finding, PerfDelta, Unevaluated

Document = dict[str, Any]


def document(result: PerfDelta) -> Document:
    """One JSON object. A number that was not measured is null; none is infinite."""
    return {
        "baseline": result.baseline,
        "head": result.head,
        "chosen": result.chosen,
        "rule": None if result.rule is None else result.rule.value,
        "runs": result.runs,
        "stopped_after": result.stopped_after,
        "overall": result.overall,
        "failed": result.failed,
        "failures": list(result.failures),
        "counts": {word.value: count for word, count in result.counts.items()},
        "scenarios": result.scenarios,
        "findings": [_finding(finding) for finding in result.findings],
        "unevaluated": [_unevaluated(one) for one in result.unevaluated],
        "same_cells": list(result.same_cells),
        "excluded": [_excluded(side) for side in result.excluded],
        "divergences": [_divergence(one) for one in result.divergences],
        "notes": list(result.notes),
        "goals": [_goal(finding) for finding in result.findings if finding.gates],
    }


def to_json(result: PerfDelta) -> str:
    """The document as text, ending in a newline."""
    return json.dumps(document(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finding(finding: Finding) -> Document:
    v = finding.verdict
    return {
        "test": finding.test,
        "scenario": v.scenario,
        "metric": v.metric,
        "unit": finding.unit,
        "better": finding.better,
        "phase": finding.phase,
        "verdict": v.word.value,
        "reason": v.reason or None,
        "a": _side(v.n_a, v.center_a, v.low_a, v.high_a),
        "b": _side(v.n_b, v.center_b, v.low_b, v.high_b),
        "shift": v.shift,
        "shift_pct": v.shift_pct,
        "shift_low": v.ci_low,
        "shift_high": v.ci_high,
        "floor": v.floor,
        "p": v.p,
        "q": v.q,
        "more": v.more,
        "noisy_spread": v.high_spread,
        "gate": None if finding.gate is None else to_builtins(finding.gate),
        "must_fail": finding.must_fail,
    }


def _side(n: int, center: float | None, low: float | None, high: float | None) -> Document:
    return {"n": n, "center": center, "low": low, "high": high}


def _goal(finding: Finding) -> Document:
    """A gate as an optimiser reads it: the shift, and half of its interval as the noise. Larger is a better change."""
    v = finding.verdict
    sign = 1 if finding.better == "higher" else -1
    half = None if v.ci_low is None or v.ci_high is None else (v.ci_high - v.ci_low) / 2
    return {
        "goal": f"{finding.test}/{v.metric}",
        "scenario": v.scenario,
        "phase": finding.phase,
        "verdict": v.word.value,
        "value": v.shift,
        "noise": half,
        "n": min(v.n_a, v.n_b),
        "unit": finding.unit,
        "better": finding.better,
        "reward": None if v.shift is None or finding.better is None else sign * v.shift,
    }


def _unevaluated(one: Unevaluated) -> Document:
    return {"test": one.test, "gate": to_builtins(one.gate), "why": one.why}


def _excluded(side: Excluded) -> Document:
    return {
        "side": side.side,
        "runs": side.runs,
        "comparable": side.comparable,
        "skipped": side.skipped,
        "failed": side.failed,
        "inconclusive": side.inconclusive,
        "expected_failure": side.expected_failure,
    }


def _divergence(one: Divergence) -> Document:
    return {"cell": one.cell, "at_ms": one.at_ms, "a": one.a, "b": one.b}
