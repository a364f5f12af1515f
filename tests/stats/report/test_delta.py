from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.record.codec import decode
from ktstr.stats.inference.verdicts import Rule, Word
from ktstr.stats.perf.document import document, to_json
from ktstr.stats.perf.result import PerfDelta
from ktstr.stats.report.comparison import ComparisonReport, LeftOut, comparison_page
from ktstr.stats.report.delta import DeltaDocument, read_delta, report_of_delta
from tests.stats.perf.findings import FULL, finding, result
from tests.stats.report.runs import HOSTILE
from tests.stats.report.test_page import Outline


def report(found: PerfDelta) -> ComparisonReport:
    return report_of_delta(decode(DeltaDocument, json.loads(to_json(found)), "result"))


def test_what_perf_delta_writes_is_what_the_report_has() -> None:
    found = report(FULL)
    assert (found.a, found.b, found.a_runs) == ("1234567", "abcdef0-dirty", 4)
    assert found.why == ("pipe/tiny/7.2/mine: iteration_rate regressed",)
    by_name = {scenario.name: scenario for scenario in found.scenarios}
    assert list(by_name) == ["pipe/tiny/7.2/mine", "pipe/tiny/7.2/mine, 1: Step[0]", "steady/tiny/7.2/mine"]
    first, undecided, same = by_name["pipe/tiny/7.2/mine"].metrics
    assert (first.metric, first.verdict, first.better, first.note) == (
        "iteration_rate", "regressed", "higher", "its test declares a limit",
    )  # fmt: skip
    a, b = first.sides
    assert (a.samples.n, a.samples.median, a.samples.low, a.samples.high) == (10, 1000, 980, 1020)
    assert b.shift is not None and (b.shift.estimate, b.shift.low, b.shift.high) == (-100, -120, -80)
    assert undecided.note == "about 6 more runs a side would decide; its runs spread widely"
    assert same.verdict == "same"


def test_phases_are_shown_and_not_counted() -> None:
    assert dict(report(FULL).counts or ()) == document(FULL)["counts"]


def test_what_was_not_compared_is_said() -> None:
    found = report(FULL).left_out
    assert LeftOut("the limit of worst_page_locality that pipe declares", "measured on neither side") in found
    assert LeftOut("of the 10 runs of A", "1 skipped, 1 failed") in found
    cells = ", ".join(f"steady/tiny/7.2/eevdf/icount-s{seed}" for seed in range(3))
    assert LeftOut(f"{cells} and 4 more", "their inputs are equal on both sides, so not run") in found


def test_a_side_without_a_number_is_not_drawn_as_zero() -> None:
    alone = finding(Word.INFORMATIONAL, center_b=None, low_b=None, high_b=None, shift=None, n_b=0, reason="B has none")
    found = report(result(alone))
    assert found.scenarios == ()
    assert found.left_out == (LeftOut("iteration_rate of pipe/tiny/7.2/mine", "B has none"),)


def test_means_are_not_called_medians_and_unknown_hosts_not_equal() -> None:
    page = comparison_page(report(result(finding(), rule=Rule.WELCH)))
    assert "A mean" in page and "difference of means" in page
    assert "A median" not in page and "Hodges-Lehmann" not in page
    assert 'id="hosts"' not in page


def test_the_page_shows_all_of_it() -> None:
    page = comparison_page(report(FULL))
    outline = Outline(page)
    assert (outline.wrong, outline.open) == ([], [])
    for text in (
        "merge-base with main", "REGRESSED", "about 6 more runs", "CPU 1 runs pipe:3", "the working tree is dirty",
        "stopped after 4 of 10 runs a side", "1: Step[0]",
    ):  # fmt: skip
        assert text in page


def test_a_strangers_file_is_text(tmp_path: Path) -> None:
    whole = json.loads(to_json(FULL))
    whole |= {"baseline": HOSTILE, "head": HOSTILE, "chosen": HOSTILE, "overall": HOSTILE, "notes": [HOSTILE]}
    whole["findings"][0] |= {"scenario": HOSTILE, "metric": HOSTILE, "unit": HOSTILE, "reason": HOSTILE}
    (tmp_path / "r.json").write_text(json.dumps(whole))
    outline = Outline(comparison_page(read_delta(tmp_path / "r.json")))
    assert (outline.wrong, outline.open, len(outline.all("script")), outline.all("img")) == ([], [], 1, [])


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("findings", [{}], "findings[0]"),
        ("runs", -1, "runs"),
        ("notes", "x", "notes"),
        ("counts", {"regressed": None}, "counts"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_field(tmp_path: Path, field: str, value: object, where: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps({**document(FULL), field: value}))
    with pytest.raises(InputError) as error:
        read_delta(tmp_path / "r.json")
    assert str(tmp_path / "r.json") in error.value.message and where in error.value.message
