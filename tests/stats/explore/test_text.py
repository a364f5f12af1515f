from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from msgspec.structs import replace

from ktstr.record.codec import encode
from ktstr.record.exploration import Exploration, Explored, Minimal, Minimised, Ranking, WorstSeed
from ktstr.stats.explore.spread import failure_rate, spreads
from ktstr.stats.explore.text import render

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/explore.schema.json").read_text())
RUNS = [{"worst_gap_ms": 10.0, "total_ttwu_count": 5.0}, {"worst_gap_ms": 2594.0, "total_ttwu_count": 6.0}]
MINIMISED = Minimised(
    seed=2, result="minimal", changes=25, kept=(3, 9), words=("worker 0 of cgroup a starts 0.265 ms later",),
    reasons=("worker 2 starved",), runs=31, reproduce="doit test seed=2 keep=3,9",
)  # fmt: skip
FOUND = Explored(
    name="steady/two/default/mine/icount", seeds=3, counts={"pass": 1, "fail": 1, "not run": 1}, distinct=2, measured=2,
    failure_rate=failure_rate(1, 2), spreads=spreads(RUNS),
    ranking=Ranking(metric="worst_gap_ms", unit="ms", check="max_gap_ms", limit=3000, used_pct=86.5),
    worst=(
        WorstSeed(seed=2, verdict="fail", value=2594, reasons=("late", "more"), reproduce="doit test seed=2"),
        WorstSeed(seed=1, verdict="pass", value=None, reasons=(), reproduce="doit test seed=1"),
    ),
    minimised=MINIMISED, notes=("one \x1b[31mnote",),
)  # fmt: skip


def whole(*scenarios: Explored, interrupted: bool = False, stopped: bool = False) -> Exploration:
    return Exploration(interrupted=interrupted, stopped=stopped, scenarios=scenarios)


def test_the_text_has_counts_rate_spreads_worst_seeds_and_what_matters() -> None:
    lines = render(whole(FOUND), all_metrics=False).splitlines()
    assert lines[:4] == [
        "steady/two/default/mine/icount",
        "3 seeds: 1 passed, 1 failed, 1 not run; 2 different results of 2",
        "50 % of 2 fail: of all seeds 1.26 % to 98.7 % do (95 % sure)",
        "note: one ?[31mnote",
    ]
    text = "\n".join(lines)
    assert "worst_gap_ms (ms)   10    1302  2594  2594  2594  198.5 %\n1 more metrics: verbose=1" in text
    assert "comes nearest to a limit (max_gap_ms: 3000 ms):\n  seed 2      FAIL          2594 ms\n    late\n" in text
    assert "  seed 1      PASS          -\n    doit test seed=1\n" in text
    assert text.endswith(
        "seed 2 fails with 2 of its 25 changes, and without any one of these it does not\n  (31 runs):\n"
        "  - worker 0 of cgroup a starts 0.265 ms later\n  then worker 2 starved\n    doit test seed=2 keep=3,9"
    )


def test_verbose_shows_what_only_counts_and_what_is_the_same_for_all() -> None:
    assert "total_ttwu_count" in render(whole(FOUND), all_metrics=True)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("all", "only with all of its 25 changes"),
        ("none_needed", "with none of its 25 changes too: it needs no seed"),
        ("cut_short", "fewer may do, it was cut short after 31 runs"),
    ],
)
def test_how_sure_it_is_that_nothing_more_can_go_is_said(result: Minimal, said: str) -> None:
    found = replace(FOUND, minimised=replace(MINIMISED, result=result))
    assert said in " ".join(render(whole(found), all_metrics=False).split())


def test_a_partial_report_says_so_and_no_failure_is_no_proof_of_none() -> None:
    found = replace(FOUND, failure_rate=failure_rate(0, 1000), minimised=None)
    text = render(whole(found, interrupted=True), all_metrics=False)
    assert "none of 1000 fails: of all seeds at most 0.368 % do (95 % sure)" in text
    assert text.endswith("INTERRUPTED: the report is partial; finished cells are kept and will not run again\n")
    assert "until=fail" in render(whole(found, stopped=True), all_metrics=False)


def test_the_document_is_what_the_schema_says() -> None:
    validator = jsonschema_rs.Draft202012Validator(SCHEMA)
    bare = replace(FOUND, failure_rate=None, spreads=(), ranking=None, worst=(), minimised=None, notes=())
    for found in (whole(FOUND), whole(bare, stopped=True), whole()):
        validator.validate(json.loads(json.dumps(encode(found))))
    assert not validator.is_valid({**encode(whole(FOUND)), "more": 1})
