"""What is said of several cells together, and when it is not."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ktstr.cells.declared import DeclaredRun
from ktstr.commands.declare.command import Invocation
from ktstr.commands.declare.reported import Saying, report_of
from ktstr.config.load import parse
from ktstr.results.ledger import CellOutcome, ExitRules, Ledger
from tests.commands.test_merge import Merging

TEXT = b"""\
kernels: {k: "6.14"}
schedulers: {short: {path: a/short}, long: {path: a/long}}
tests: {duel: {cgroups: [{name: a, workers: 1}], perf_delta: [worst_gap_ms], compare: [short, long]}}
"""


def declared() -> list[DeclaredRun]:
    test = parse(TEXT, Path("ktstr.yaml"), validated=True).tests["duel"]
    outcome = CellOutcome("duel/one/k/short/icount-s0", "pass", ())
    return [DeclaredRun(test, "one", "k", "short", "icount", 0, outcome)]


@pytest.fixture
def invocation(tmp_path: Path) -> Invocation:
    return Merging(tmp_path, [], Ledger()).invocation


def saying(**changes: object) -> Saying:
    made = Saying(json=False, verbose=False, junit=None, rules=ExitRules(), partial="", interrupted=False)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("changes", "why"), [({"partial": "shard=1/2"}, "shard"), ({"interrupted": True}, "int")])
def test_a_part_needs_nothing_to_compare_with(
    invocation: Invocation, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], why: str
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)  # as if not installed
    monkeypatch.delitem(sys.modules, "ktstr.cells.comparisons", raising=False)
    report = report_of(invocation, saying(**changes), [], declared())
    assert f"\ncompare: duel not judged: {why}" in report.text
    assert (report.code, invocation.ledger.failures) == (0, {})
    report_of(invocation, saying(), [], declared())
    assert "scipy" in str(invocation.ledger.failures["compare"])


def test_a_part_judges_no_goals(invocation: Invocation) -> None:
    whole = json.loads(report_of(invocation, saying(json=True), [], declared()).text)
    assert [goal["goal"] for goal in whole["goals"]] != []
    part = json.loads(report_of(invocation, saying(json=True, partial="shard=1/2"), [], declared()).text)
    assert cast(list[object], part["goals"]) == []
