"""pytest's reports, serialized: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

Reports: TypeAlias = dict[str, list[dict[str, Any]]]  # node id to its reports in order


def whole(lines: Iterable[str]) -> Reports:
    """The tests that came to their end. One without a report of its teardown died on the way, and is left out."""
    found: Reports = {}
    for line in lines:
        report = json.loads(line)
        found.setdefault(report["nodeid"], []).append(report)
    return {name: reports for name, reports in found.items() if reports[-1]["when"] == "teardown"}


def failure(reports: Iterable[dict[str, Any]]) -> str | None:
    """What a test said as it failed, None when it did not."""
    for report in reports:
        if report["outcome"] == "failed":
            told = report["longrepr"]
            return str(told["reprcrash"]["message"] if isinstance(told, dict) and told.get("reprcrash") else told)
    return None
