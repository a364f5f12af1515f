from __future__ import annotations

from ktstr.cells.early import EarlyEnd
from ktstr.results.ledger import CellOutcome, Ledger


def test_it_looks_once_when_all_of_its_cells_have_ended_and_keeps_its_answer() -> None:
    ledger, asked = Ledger(), []

    def decided() -> bool:
        asked.append(len(ledger.outcomes))
        return True

    end = EarlyEnd(ledger, ("a", "b"), decided)
    assert not end.is_over()
    ledger.record(CellOutcome("a", "pass", ()))
    assert not end.is_over() and not end.came
    ledger.record(CellOutcome("b", "pass", ()))
    assert end.is_over() and end.came
    ledger.record(CellOutcome("c", "pass", ()))
    assert end.is_over()
    assert asked == [2]


def test_what_is_not_decided_goes_on() -> None:
    ledger = Ledger()
    ledger.record(CellOutcome("a", "pass", ()))
    end = EarlyEnd(ledger, ("a",), lambda: False)
    assert not end.is_over() and not end.came
