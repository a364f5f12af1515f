from __future__ import annotations

import json

from tests.nested.reports import whole


def line(name: str, when: str) -> str:
    return json.dumps({"nodeid": name, "when": when})


def test_a_test_that_died_on_the_way_has_no_reports() -> None:
    lines = [line("a", when) for when in ("setup", "call", "teardown")]
    lines += [line("b", "setup"), line("b", "teardown"), line("c", "setup")]
    assert {name: [report["when"] for report in reports] for name, reports in whole(lines).items()} == {
        "a": ["setup", "call", "teardown"],
        "b": ["setup", "teardown"],
    }
