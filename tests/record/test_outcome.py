from __future__ import annotations

from ktstr.record.outcome import JUDGED, UNSUCCESSFUL, Outcome


def test_each_word_is_counted_in_this_order() -> None:
    assert [outcome.value for outcome in Outcome] == ["pass", "fail", "inconclusive", "skip", "error", "not run"]


def test_what_was_run_and_did_not_go_well_is_unsuccessful() -> None:
    assert {outcome.value for outcome in UNSUCCESSFUL} == {"fail", "inconclusive", "error"}
    assert [outcome.unsuccessful for outcome in Outcome] == [False, True, True, False, True, False]
    assert "error" in UNSUCCESSFUL and "skip" not in UNSUCCESSFUL, "plain words are looked up as well"


def test_what_has_a_sidecar_of_a_run_was_judged() -> None:
    assert [outcome.judged for outcome in Outcome] == [True, True, True, False, False, False]
    assert {outcome.value for outcome in JUDGED} == {"pass", "fail", "inconclusive"}
