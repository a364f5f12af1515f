from __future__ import annotations

from dataclasses import replace

import pytest

from ktstr.stats.inference.verdicts import Rule, Word
from ktstr.stats.perf.result import phase_name
from ktstr.stats.perf.text import number, render
from tests.stats.perf.findings import FULL, finding, gate, result


def test_the_whole_report() -> None:
    assert render(FULL) == (
        """\
perf-delta: B vs A, 4 runs a side, of 10: everything was decided
  A  1234567  (merge-base with main)
  B  abcdef0-dirty

TEST / METRIC              A MEDIAN  B MEDIAN  SHIFT (%) [INTERVAL]          N  VERDICT
pipe/tiny/7.2/mine
  iteration_rate (iter/s)      1000       900  -100 (-10.0%) [-120, -80]    10  REGRESSED (declared gate)
steady/tiny/7.2/mine
  worst_gap_ms (ms)            1000       900  -100 (-10.0%) [-120, -80]  10+8  improved

by phase (only declared gates count):
PHASE       TEST / METRIC                                A    B  SHIFT (%) [INTERVAL]  VERDICT
1: Step[0]  pipe/tiny/7.2/mine worst_spread (iter/s)  1000  900  -                     REGRESSED

declared gates that were not evaluated:
TEST  METRIC               PHASE  DECLARED GATE      WHY
pipe  worst_page_locality  2      registry defaults  measured on neither side

where the two sides first differ:
  pipe/tiny/7.2/mine/icount-s1, 12.346 ms
    A  CPU 0 runs pipe:3
    B  CPU 1 runs pipe:3

7 cells with equal inputs, not run: steady/tiny/7.2/eevdf/icount-s0,
  steady/tiny/7.2/eevdf/icount-s1, steady/tiny/7.2/eevdf/icount-s2,
  steady/tiny/7.2/eevdf/icount-s3, steady/tiny/7.2/eevdf/icount-s4, and 2 more
A: 10 runs: 8 comparable (1 skipped, 1 failed)
B: 8 runs: 8 comparable (none excluded)
note: the working tree is dirty

1 scenario compared
overall REGRESSED: 1 regressed, 1 improved, 1 same, 1 undecided; 1 declared gate not evaluated
about 6 more runs a side would decide 1 metric more
FAILED: pipe/tiny/7.2/mine: iteration_rate regressed
"""
    )


def test_what_did_not_change_is_hidden_unless_it_is_asked_for() -> None:
    assert "worst_spread (%)" not in render(FULL)
    shown = render(FULL, all_metrics=True).splitlines()
    assert [line.split()[0] for line in shown if line.startswith("  worst") or line.startswith("  iter")] == [
        "iteration_rate", "worst_run_delay_us", "worst_spread", "worst_gap_ms",
    ]  # fmt: skip
    row = next(line for line in shown if "worst_run_delay_us" in line)
    assert row.endswith("undecided, about 6 more (noisy spread)")


def test_an_undecided_gate_is_never_hidden() -> None:
    assert "undecided (declared gate)" in render(result(finding(Word.UNDECIDED, gate=gate())))


def test_when_all_is_hidden_it_says_how_many_were_compared() -> None:
    quiet = result(finding(Word.SAME), finding(Word.SAME), finding(Word.UNDECIDED))
    assert "3 metrics compared, none meaningfully changed, 1 undecided; all_metrics=1 shows them" in render(quiet)
    assert "overall STABLE: 0 regressed, 0 improved, 2 same, 1 undecided" in render(quiet)


def test_when_nothing_was_compared_it_says_so() -> None:
    assert "nothing was compared: no metric was measured on both sides" in render(result(scenarios=0))


@pytest.mark.parametrize(
    ("improved", "failures", "cutoff", "overall"),
    [
        (5, (), 5, "IMPROVED"), (4, (), 5, "STABLE"), (4, (), 0, "STABLE"), (1, (), 1, "IMPROVED"),
        (0, ("x",), 5, "REGRESSED"), (5, ("x",), 5, "REGRESSED + IMPROVED"),
    ],
)  # fmt: skip
def test_the_overall_word(improved: int, failures: tuple[str, ...], cutoff: int, overall: str) -> None:
    found = result(*[finding(Word.IMPROVED)] * improved, failures=failures, cutoff=cutoff)
    assert found.overall == overall


def test_findings_of_phases_are_not_counted() -> None:
    found = result(finding(Word.IMPROVED, phase=1), finding(Word.SAME), cutoff=1)
    assert (found.overall, found.counts[Word.IMPROVED], len(found.by_phase)) == ("STABLE", 0, 1)


def test_the_welch_rule_has_the_columns_of_the_reference() -> None:
    found = result(
        finding(gate=gate()), finding(Word.IMPROVED, high_spread=True), finding(Word.NOISY, high_spread=True, n_b=1),
        finding(Word.SAME), rule=Rule.WELCH,
    )  # fmt: skip
    lines = render(found, all_metrics=True).splitlines()
    assert lines[0] == "perf-delta noise_adjust=10: B vs A (advisory noisy-spread threshold 5.00%)"
    assert lines[4].split("  ")[0] == "TEST / METRIC"
    band = "1000.0 [980.0-1020.0] 4.00%"
    assert [line[line.index(band) :].split("  ")[0] for line in lines[6:10]] == [band] * 4
    assert [line.rpartition("%")[2].strip() for line in lines[6:10]] == [
        "REGRESSION (declared gate)", "improvement (noisy spread)", "NOISY (<2 runs)", "stable",
    ]  # fmt: skip
    assert "overall STABLE: 1 regressed, 1 improved, 1 stable, 1 under-sampled (<2 runs)" in lines
    assert "below the cutoff, likely noise" in lines


def test_welch_with_too_few_runs_asks_for_more() -> None:
    text = render(result(finding(Word.NOISY), rule=Rule.WELCH))
    assert "1 metric compared, none meaningfully changed, 1 under-sampled" in text
    assert "NOTE: fewer than 2 runs on a side" in text


def test_what_a_guest_named_cannot_move_the_cursor() -> None:
    text = render(result(finding(metric="a\x1b[2Jb", gate=gate()), notes=("\x1b]0;x\x07",)))
    assert "a?[2Jb" in text
    assert "\x1b" not in text


def test_a_number_that_is_not_there_is_a_dash() -> None:
    bare = finding(center_a=None, center_b=None, shift=None, ci_low=None, ci_high=None)
    assert render(result(bare)).splitlines()[6].split() == [
        "iteration_rate", "(iter/s)", "-", "-", "-", "10", "REGRESSED",
    ]  # fmt: skip


def test_phases_have_names() -> None:
    assert [phase_name(None), phase_name(0), phase_name(2), phase_name(1, "warm up")] == [
        "whole run", "0: BASELINE", "2: Step[1]", "1: warm up",
    ]  # fmt: skip


def test_only_what_gates_fails_alone() -> None:
    assert finding(gate=gate()).fails and finding(must_fail=True).fails
    assert not finding().fails
    assert not finding(Word.UNDECIDED, gate=gate()).fails
    assert not replace(FULL, failures=()).failed


def test_numbers_have_no_exponents_that_a_reader_would_have_to_count() -> None:
    assert [number(value) for value in (None, 0.0, 12.0, 13936.4, 222350.4, 0.0143421, 1.5e13)] == [
        "-", "0", "12", "13936", "222350", "0.014342", "1.5e+13",
    ]  # fmt: skip
