from __future__ import annotations

import json

from tests.nested.reports import failure, whole


def line(name: str, when: str) -> str:
    return json.dumps({"nodeid": name, "when": when})


def test_a_test_that_died_on_the_way_has_no_reports() -> None:
    lines = [line("a", when) for when in ("setup", "call", "teardown")]
    lines += [line("b", "setup"), line("b", "teardown"), line("c", "setup")]
    assert {name: [report["when"] for report in reports] for name, reports in whole(lines).items()} == {
        "a": ["setup", "call", "teardown"],
        "b": ["setup", "teardown"],
    }


def test_what_a_test_said_as_it_failed() -> None:
    passed = {"outcome": "passed", "longrepr": None}
    crashed = {"outcome": "failed", "longrepr": {"reprcrash": {"message": "assert 1 == 2"}}}
    assert failure([passed, passed]) is None
    assert failure([passed, crashed, passed]) == "assert 1 == 2"
    assert failure([{"outcome": "failed", "longrepr": "no lab: no kernel"}]) == "no lab: no kernel"
