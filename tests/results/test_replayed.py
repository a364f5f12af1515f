"""What becomes of a cell that did not pass: five words, and only runs that passed or failed decide."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ktstr.results.replayed import Change, Fate, Reason, Replayed, Report, Run, judge, to_json, to_junit, to_text

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/replay.schema.json").read_text())
STUCK, EVICTED = Reason("Stuck", "worker 0 stuck"), Reason("Evicted", "the kernel evicted it")
FAILED = Run("fail", (STUCK,))
PASSED, UNCLEAR, BROKEN = (
    Run("pass"),
    Run("inconclusive", (Reason("Machine", "x"),)),
    Run("error", (Reason(None, "y"),)),
)


@pytest.mark.parametrize(
    ("before", "runs", "fate", "why"),
    [
        (FAILED, [PASSED], Fate.FIXED, "passes"),
        (FAILED, [PASSED, PASSED], Fate.FIXED, "2 runs: all passed"),
        (FAILED, [FAILED], Fate.PERSISTENT, "fails for the same reason (Stuck)"),
        (FAILED, [Run("fail", (EVICTED,))], Fate.PERSISTENT, "fails for another reason: Evicted, before Stuck"),
        (FAILED, [Run("fail", (EVICTED, STUCK))], Fate.PERSISTENT,
         "fails for the same reason (Stuck), and another (Evicted)"),
        (Run("fail", (EVICTED, STUCK)), [FAILED], Fate.PERSISTENT,
         "fails for the same reason (Stuck), no longer for Evicted"),
        (FAILED, [FAILED, FAILED], Fate.PERSISTENT, "2 of 2 runs failed: fails for the same reason (Stuck)"),
        (FAILED, [FAILED, BROKEN], Fate.PERSISTENT, "1 of 2 runs failed: fails for the same reason (Stuck)"),
        (UNCLEAR, [FAILED], Fate.PERSISTENT, "it was inconclusive, and fails now"),
        (FAILED, [FAILED, PASSED, PASSED], Fate.MIXED, "3 runs: 1 failed, 2 passed"),
        (FAILED, [PASSED, BROKEN, FAILED], Fate.MIXED, "3 runs: 1 failed, 1 passed, 1 could not be judged"),
        (FAILED, [PASSED, UNCLEAR], Fate.INCONCLUSIVE, "2 runs: 1 passed, 1 could not be judged"),
        (FAILED, [UNCLEAR], Fate.INCONCLUSIVE, "inconclusive"),
        (FAILED, [BROKEN], Fate.INCONCLUSIVE, "error"),
        (FAILED, [Run("not run")], Fate.INCONCLUSIVE, "not run"),
        (FAILED, [BROKEN, UNCLEAR], Fate.INCONCLUSIVE, "2 runs: 1 error, 1 inconclusive"),
        (FAILED, [], Fate.INCONCLUSIVE, "did not run"),
    ],
)  # fmt: skip
def test_runs_decide(before: Run, runs: list[Run], fate: Fate, why: str) -> None:
    judged = judge(before, runs)
    assert (judged.fate, judged.why) == (fate, why)


CELLS = (
    Replayed(
        "a/p/k/s/icount-s0", Fate.FIXED, "passes", FAILED, (Run("pass", (), True, 2.25),), (Change("scheduler"),),
        since="2026-11-27T10:00:00.000+00:00", commit="abc1234",
    ),
    Replayed(
        "b/p/k/s/icount-s0", Fate.PERSISTENT, "fails for the same reason (Stuck)", FAILED,
        (Run("fail", (STUCK,), ran=False),), (), sidecar="/r/b.ktstr.json", files=("/r/console.log",), command="doit x",
    ),
    Replayed(
        "c/p/k/s/tcg-s0", Fate.FIXED, "passes", FAILED, (Run("pass", (), True, 1.0),), (), host=("online_cpus: 2 → 4",)
    ),
    Replayed("d/p/k/s/tcg-s0", Fate.INCONCLUSIVE, "error", FAILED, (BROKEN,), None, host=()),
    Replayed(
        "e/p/k/s/icount-s0", Fate.FIXED, "passes", FAILED, (PASSED,),
        (Change("kernel", "7.1", "7.2"), Change("scheduler")),
    ),
    Replayed("f/p/k/s/icount-s0", Fate.FIXED, "passes", FAILED, (PASSED,), (Change("limits"),)),
    Replayed("g/p/k/s/icount-s0", Fate.DROPPED, "the test g is no longer declared", FAILED),
)  # fmt: skip


def test_the_report_says_of_each_what_it_was_what_it_is_and_what_changed() -> None:
    text = to_text(Report(CELLS, ("a note",)))
    folded = " ".join(text.split())
    for said in (
        "FIXED 2.2 s a/p/k/s/icount-s0 was fail (at commit abc1234, 2026-11-27T10:00:00): Stuck: worker 0 stuck "
        "now passes changed since: the scheduler's program, with what is packed beside it",
        "PERSISTENT up to date b/p/k/s/icount-s0 was fail: Stuck: worker 0 stuck "
        "now fails for the same reason (Stuck): in the same words "
        "changed since: nothing that it depends on, so the result of then stands "
        "sidecar /r/b.ktstr.json file /r/console.log reproduce doit x",
        "FIXED 1.0 s c/p/k/s/tcg-s0 was fail: Stuck: worker 0 stuck now passes changed since: nothing that it depends "
        "on: it may fail again, and times=10 says more",
        "now error: y changed since: not known: what it depended on was not recorded",
        "changed since: the kernel: 7.1 → 7.2; the scheduler's program, with what is packed beside it",
        "changed since: the limits that it is judged by, and nothing else",
        "DROPPED - g/p/k/s/icount-s0 the test g is no longer declared was fail: Stuck: worker 0 stuck",
        "changed for 2 of 6 cells: the scheduler's program, with what is packed beside it",
        "host drift, which may be why: online_cpus: 2 → 4 (1 cell)",
        "a note replayed 7 cells: 4 fixed, 1 persistent, 0 mixed, 1 inconclusive, 1 dropped",
    ):
        assert said in folded, text


def test_a_host_that_is_as_it_was_is_said_to_be() -> None:
    assert "host: unchanged (1 cell in real time)" in to_text(Report((CELLS[3],)))
    assert "host" not in to_text(Report(CELLS[:2]))


def test_an_interrupted_replay_says_so() -> None:
    assert to_text(Report(CELLS[:1], interrupted=True)).endswith(
        "INTERRUPTED: the table is partial; what ended is kept\n"
    )


def test_the_json_output_fits_its_schema() -> None:
    for report in (Report(CELLS, ("a note",)), Report(())):
        Draft202012Validator(SCHEMA).validate(json.loads(to_json(report)))
    first = json.loads(to_json(Report(CELLS)))["cells"][0]
    assert (first["fate"], first["changes"]) == ("fixed", [{"input": "scheduler", "old": None, "new": None}])


def test_junit_has_a_case_for_each_and_skips_what_was_dropped() -> None:
    suite = ET.fromstring(to_junit(Report(CELLS)))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "2", "1")
    dropped = [case for case in suite.iter("testcase") if case.find("skipped") is not None]
    assert [case.get("classname") for case in dropped] == ["g"]
