from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ktstr.columns import WIDTH
from ktstr.results.junit import Case, junit
from ktstr.results.summary import CellSummary, Findings, counts, counts_line, table, to_json

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/test_output.schema.json").read_text())
CELLS = [
    CellSummary("steady/tiny/7.2/eevdf/icount-s0", "pass", seconds=4.25, ran=True, sidecar="/r/a.ktstr.json"),
    CellSummary("steady/tiny/7.2/eevdf/icount-s1", "pass", sidecar="/r/b.ktstr.json"),
    CellSummary(
        "unfair/tiny/7.2/eevdf/icount-s0",
        "fail",
        ("cgroup cg_0: worker 3 (tid 77, SpinWait) was off CPU 87.50 % of its time: spread 87.00 % > limit 10 %",),
        seconds=5.0,
        ran=True,
        sidecar="/r/c.ktstr.json",
        files=("/r/console.log",),
        command="doit test test=unfair preset=tiny kernel=7.2 scheduler=eevdf accel=icount seed=0 rerun=1",
    ),
    CellSummary("big/huge/7.2/eevdf/icount-s0", "skip", ("needs 64 CPUs", "and more")),
    CellSummary("x/tiny/7.2/eevdf/icount-s0", "error", ("the machine was killed",), files=("/r/x/console.log",)),
    CellSummary("y/tiny/7.2/eevdf/icount-s0", "not run", ("interrupted",)),
]


def test_every_verdict_is_counted() -> None:
    assert counts(CELLS) == {"pass": 2, "fail": 1, "inconclusive": 0, "skip": 1, "error": 1, "not run": 1}
    assert counts_line(CELLS) == "6 cells: 2 passed, 1 failed, 1 skipped, 1 in error, 1 not run (2 ran, 1 up to date)"
    assert counts_line([]) == "0 cells: none (0 ran, 0 up to date)"


def test_each_cell_has_a_row_and_says_whether_it_ran() -> None:
    lines = table(CELLS).splitlines()
    assert lines[1].split() == ["PASS", "4.2", "s", "steady/tiny/7.2/eevdf/icount-s0"]
    assert lines[2].split() == ["PASS", "up", "to", "date", "steady/tiny/7.2/eevdf/icount-s1"]


def test_the_footer_names_a_failed_cells_files_and_one_command_to_copy() -> None:
    text = table(CELLS)
    footer = text[text.index("failed cells:") :].splitlines()
    assert footer[2] == "  FAIL  unfair/tiny/7.2/eevdf/icount-s0"
    assert footer[3] == "    sidecar    /r/c.ktstr.json"
    assert footer[4] == "    file       /r/console.log"
    assert footer[5] == f"    reproduce  {CELLS[2].command}"
    assert footer[7] == "  ERROR  x/tiny/7.2/eevdf/icount-s0"
    assert "steady" not in "".join(footer)


def test_nothing_failed_means_no_footer() -> None:
    assert "failed cells" not in table(CELLS[:2])


def test_an_interrupted_run_says_that_the_table_is_partial() -> None:
    assert "INTERRUPTED" in table(CELLS, interrupted=True) and "INTERRUPTED" not in table(CELLS)


def test_reasons_of_failures_are_whole_and_of_skips_short_unless_verbose() -> None:
    assert "spread 87.00 % > limit 10 %" in " ".join(table(CELLS).split())
    assert "needs 64 CPUs" in table(CELLS) and "and more" not in table(CELLS)
    assert "and more" in table(CELLS, verbose=True)


def test_prose_stays_within_the_width() -> None:
    long = CellSummary("a/b/c/d/e", "fail", ("word " * 100,), seconds=1.0, ran=True)
    assert max(len(line) for line in table([long]).splitlines()) <= WIDTH


def test_json_is_one_valid_object_with_the_promised_keys() -> None:
    found = json.loads(to_json(CELLS))
    Draft202012Validator(SCHEMA).validate(found)
    assert found["counts"]["fail"] == 1
    row = found["cells"][2]
    assert (row["name"], row["verdict"], row["sidecar"], row["seconds"], row["ran"]) == (
        CELLS[2].name, "fail", "/r/c.ktstr.json", 5.0, True,
    )  # fmt: skip
    assert row["reasons"] == list(CELLS[2].reasons)
    assert found["cells"][1]["seconds"] is None and found["cells"][1]["ran"] is False
    assert (found["goals"], found["comparisons"]) == ([], [])


def test_json_has_goals_and_refuses_what_is_no_number() -> None:
    goal = {
        "goal": "t/m", "scenario": "p/k/s/icount", "phase": None, "verdict": "pass", "value": 1.5, "noise": None,
        "n": 1, "unit": "", "better": "lower", "reward": -1.5,
    }  # fmt: skip
    found = json.loads(to_json(CELLS, Findings(goals=[goal])))
    Draft202012Validator(SCHEMA).validate(found)
    assert found["goals"] == [goal]
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(CELLS, Findings(goals=[{**goal, "value": float("nan")}]))


def test_junit_has_what_else_was_judged() -> None:
    more = (Case("a", "b", "fail", ("worse", "by far")), Case("a", "c", "skip", ("undecided",)), Case("a", "d", "pass"))
    suite = ET.fromstring(junit(CELLS[:1], more).split("\n", 1)[1])[0]
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped", "time")] == ["4", "1", "0", "1", "4.250"]
    assert [[(child.tag, child.get("message")) for child in case] for case in suite] == [
        [], [("failure", "worse")], [("skipped", "undecided")], [],
    ]  # fmt: skip


def test_junit_counts_and_names_what_failed() -> None:
    top = ET.fromstring(junit(CELLS).split("\n", 1)[1])
    suite = top[0]
    totals = [suite.get(k) for k in ("tests", "failures", "errors", "skipped")]
    assert totals == ["6", "1", "1", "2"]
    failed = suite.findall("testcase[failure]")
    assert [(c.get("classname"), c.get("name")) for c in failed] == [("unfair", "tiny/7.2/eevdf/icount-s0")]
    failure = failed[0].find("failure")
    assert failure is not None and failure.get("type") == "fail"
    assert "spread 87.00 %" in str(failure.get("message")) and CELLS[2].command in str(failure.text)
    assert suite[1].get("time") is None and suite[0].get("time") == "4.250"


def test_an_inconclusive_cell_is_a_failure_of_that_type() -> None:
    top = ET.fromstring(junit([CellSummary("a/b", "inconclusive", ("no samples",))]).split("\n", 1)[1])
    failure = top.find(".//failure")
    assert failure is not None and failure.get("type") == "inconclusive"


@given(st.text(alphabet=st.characters()), st.text())
def test_junit_is_well_formed_whatever_a_guest_said(name: str, reason: str) -> None:
    ET.fromstring(junit([CellSummary(name, "fail", (reason,), command=reason)]).split("\n", 1)[1])
