"""JSON, JUnit and the step summary of a comparison."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ktstr.errors import HostError
from ktstr.stats.inference.verdicts import Word
from ktstr.stats.perf.cases import junit
from ktstr.stats.perf.document import document, to_json
from ktstr.stats.perf.step_summary import append_step_summary, markdown
from tests.stats.perf.findings import FULL, finding, gate, result

SCHEMAS = Path(__file__).parents[3] / "schemas"
SCHEMA = json.loads((SCHEMAS / "perf_delta.schema.json").read_text())


def errors(text: str) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(json.loads(text))]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("found", [FULL, result(scenarios=0)], ids=["full", "empty"])
def test_json_satisfies_its_schema(found: object) -> None:
    assert errors(to_json(found)) == []  # type: ignore[arg-type]


def test_json_says_what_was_found() -> None:
    whole = document(FULL)
    assert (whole["overall"], whole["failed"], whole["stopped_after"]) == ("REGRESSED", True, 4)
    assert whole["counts"] == {
        "regressed": 1, "improved": 1, "same": 1, "undecided": 1, "informational": 0, "noisy": 0,
    }  # fmt: skip
    first = whole["findings"][0]
    assert (first["scenario"], first["metric"], first["verdict"]) == (
        "pipe/tiny/7.2/mine",
        "iteration_rate",
        "regressed",
    )
    assert first["a"] == {"n": 10, "center": 1000.0, "low": 980.0, "high": 1020.0}
    assert first["gate"] == {
        "metric": "iteration_rate", "direction": None, "max_regression_pct": 5, "min_abs": None, "phase": None,
    }  # fmt: skip
    assert (first["shift"], first["shift_pct"]) == (-100.0, -10.0)
    assert whole["unevaluated"][0]["why"] == "measured on neither side"


def test_a_gate_is_a_goal_whose_reward_grows_with_what_is_better() -> None:
    higher = finding(gate=gate())
    lower = finding(gate=gate("worst_gap_ms"), metric="worst_gap_ms", better="lower")
    goals = document(result(higher, lower, finding()))["goals"]
    assert [(goal["goal"], goal["value"], goal["noise"], goal["reward"]) for goal in goals] == [
        ("pipe/iteration_rate", -100.0, 20.0, -100.0), ("pipe/worst_gap_ms", -100.0, 20.0, 100.0),
    ]  # fmt: skip


def test_the_comparison_in_the_output_of_test_has_the_same_shape() -> None:
    output = json.loads((SCHEMAS / "test_output.schema.json").read_text())
    item = output["properties"]["comparisons"]["items"]
    own = {key: item["properties"][key] for key in item["properties"] if key not in ("test", "verdict")}
    assert own == SCHEMA["properties"]
    assert item["required"] == ["test", "verdict", *SCHEMA["required"]]
    assert output["$defs"] == SCHEMA["$defs"]


def test_junit_has_a_case_for_each_gate_and_one_for_the_whole() -> None:
    found = replace(
        FULL, findings=(*FULL.findings, finding(Word.UNDECIDED, metric="worst_gap_ms", gate=gate(), more=3))
    )
    suite = ET.fromstring(junit(found)).find("testsuite")
    assert suite is not None
    cases = {
        (case.get("classname"), case.get("name")): [(child.tag, child.get("message")) for child in case]
        for case in suite
    }
    assert cases == {
        ("pipe/tiny/7.2/mine", "iteration_rate"): [
            ("failure", "REGRESSED (declared gate): A 1000, B 900 iter/s, shift -100 (-10.0%) [-120, -80]")
        ],
        ("pipe/tiny/7.2/mine", "worst_gap_ms"): [
            (
                "skipped",
                "undecided, about 3 more (declared gate): A 1000, B 900 iter/s, shift -100 (-10.0%) [-120, -80]",
            )
        ],
        ("pipe", "worst_page_locality (phase 2)"): [
            ("skipped", "not evaluated: measured on neither side (registry defaults)")
        ],
        ("perf-delta", "overall"): [("failure", "pipe/tiny/7.2/mine: iteration_rate regressed")],
    }  # fmt: skip
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "2")


def test_the_step_summary_is_a_table_in_which_nothing_is_markup() -> None:
    text = markdown(result(finding(metric="a|b<c>*", gate=gate()), failures=("x_y failed",), head="fe|at"))
    assert text.splitlines() == [
        "## perf-delta: REGRESSED",
        "",
        "fe\\|at against 1234567 (merge-base with main): 1 regressed, 0 improved, 0 same.",
        "",
        "- **x\\_y failed**",
        "",
        "| scenario | metric | phase | A | B | shift | n | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| pipe/tiny/7.2/mine | a\\|b&lt;c&gt;\\* | whole run | 1000 iter/s | 900 iter/s | "
        "-100 \\(-10.0%\\) \\[-120, -80\\] | 10/10 | REGRESSED \\(declared gate\\) |",
    ]


def test_a_long_step_summary_is_cut_and_says_so() -> None:
    text = markdown(result(*[finding()] * 205))
    assert text.count("| pipe/") == 200
    assert "and 5 more" in text


def test_the_step_summary_is_added_to_the_file_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    append_step_summary({"GITHUB_STEP_SUMMARY": str(file)}, "after")
    assert file.read_text() == "before\nafter\n"
    append_step_summary({}, "nothing")
    append_step_summary({"GITHUB_STEP_SUMMARY": ""}, "nothing")
    with pytest.raises(HostError, match=r"GITHUB_STEP_SUMMARY=.*no: cannot be written \(No such file or directory\)"):
        append_step_summary({"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "no")}, "x")
