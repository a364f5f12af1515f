"""A comparison as one JSON document: ``schemas/stats_compare.schema.json``."""

from __future__ import annotations

import json
import math
from typing import Any

from ktstr.record.metrics import METRICS
from ktstr.stats.compare.engine import Comparison
from ktstr.stats.compare.findings import CoverageDifference, Finding
from ktstr.stats.compare.pairs import Group, Mismatch, PairingKey, Tally


def to_json(comparison: Comparison) -> str:
    """The document. A number that no JSON number is (a difference of huge ones) is null."""
    return json.dumps(_document(comparison), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _document(comparison: Comparison) -> dict[str, Any]:
    contrast = comparison.contrast
    return {
        "slicing": list(contrast.slicing_names),
        "pairing": list(contrast.pairing_names),
        "averaged": comparison.averaged,
        "a": {"label": contrast.a, "runs": comparison.a_runs, "host": _host(comparison.a_host)},
        "b": {"label": contrast.b, "runs": comparison.b_runs, "host": _host(comparison.b_host)},
        "summary": {
            "regressions": comparison.regressions,
            "improvements": comparison.improvements,
            "informational": comparison.informational,
            "unchanged": comparison.unchanged,
            "compared_pairs": comparison.compared_pairs,
            "excluded_pairs": comparison.excluded_pairs,
            "new_in_b": len(comparison.new_in_b),
            "removed_from_a": len(comparison.removed_from_a),
        },
        "findings": [_finding(found, contrast.pairing_names) for found in comparison.findings],
        "groups": [_group(group, contrast.pairing_names) for group in comparison.groups],
        "coverage": [_coverage(found) for found in comparison.coverage],
        "mismatches": [_mismatch(found) for found in comparison.mismatches],
        "unregistered": list(comparison.unregistered),
        "warnings": [line for line in (contrast.warning, *comparison.warnings) if line is not None],
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _host(host: str | None) -> Any:
    return None if host is None else json.loads(host)


def _key(key: PairingKey, names: tuple[str, ...]) -> dict[str, Any]:
    return {"label": key.label, "components": dict(zip(names, key.components, strict=True)), "pins": key.pins}


def _finding(found: Finding, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "key": _key(found.key, names),
        "scenario": found.scenario,
        "topology": found.topology,
        "work_type": found.work_type,
        "metric": found.metric,
        "unit": METRICS[found.metric].display_unit,
        "a": found.a,
        "b": found.b,
        "delta": _number(found.delta),
        "relative": _number(found.relative),
        "kind": found.change.name.lower(),
    }


def _group(group: Group, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "key": _key(group.key, names),
        "scenario": group.scenario,
        "topology": group.topology,
        "work_type": group.work_type,
        "excluded": group.excluded,
        "a": _tally(group.a),
        "b": _tally(group.b),
    }


def _tally(tally: Tally | None) -> dict[str, Any] | None:
    if tally is None:
        return None
    return {
        "verdict": tally.verdict,
        "expected_failure": tally.expected_failure,
        "passes": tally.passes,
        "skips": tally.skips,
        "inconclusives": tally.inconclusives,
        "failures": tally.failures,
        "total": tally.total,
        "project_commit": tally.project_commit,
        "kernel_commit": tally.kernel_commit,
    }


def _coverage(found: CoverageDifference) -> dict[str, Any]:
    return {"label": found.key.label, "metric": found.metric, "side": found.side, "value": found.value}


def _mismatch(found: Mismatch) -> dict[str, Any]:
    return {"pin": found.pin, "keys": found.keys, "a": list(found.a), "b": list(found.b)}
