"""What a failing seed is minimised to: parts of a planned cell, of which it is known with which changes they fail."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from msgspec.structs import replace as changed

from ktstr.cells.cells import Cells
from ktstr.cells.minimise import Found, Minimiser, kinds_of
from ktstr.planning.parts import count_changes
from ktstr.planning.points import CellPlan
from ktstr.progress import Progress
from ktstr.record.outcome import ReasonKind
from ktstr.record.sidecar import Reason
from ktstr.results.ledger import CellOutcome
from tests.cells.plans import cell, plan
from tests.results.cells import sidecar

Keep = tuple[int, ...]


def came(name: str, kind: ReasonKind | None) -> CellOutcome:
    """A cell that failed for a reason of this kind, or passed."""
    if kind is None:
        return CellOutcome(name, "pass", (), sidecar=sidecar())
    whole = changed(sidecar(), passed=False, reasons=(Reason("fail", kind, kind, None, None, None, None),))
    return CellOutcome(name, "fail", (kind,), sidecar=whole)


class Known:
    """What comes of a part, by the changes that it keeps; None: cancelled."""

    def __init__(self, kind: Callable[[Keep], ReasonKind | None], cancelled_at: int = 1000) -> None:
        self._kind, self._cancelled_at = kind, cancelled_at
        self.ran: list[Keep] = []

    def outcome(self, part: CellPlan) -> CellOutcome | None:
        keep = part.key.keep
        assert keep is not None
        self.ran.append(keep)
        return None if len(self.ran) > self._cancelled_at else came(part.name, self._kind(keep))


def minimised(folder: Path, known: Known, runs: int = 100) -> Found:
    made = plan(folder, progress=Progress(io.StringIO()))
    failure = came(made.cells[0].name, "Starved")
    return Minimiser(made, cast(Cells, known), failure, 1, runs).minimise(failing(folder))


def failing(folder: Path) -> CellPlan:
    """A seed of four changes: both workers start later, the cgroup is made later, and so are they stopped."""
    planned = cell(folder)
    found = next(
        one
        for seed in range(1, 200)
        if count_changes(one := replace(planned, key=replace(planned.key, seed=seed))) == 4
    )
    assert (found.compiled.perturbations.kept, found.point.test.name) == (None, "pair")
    return found


def test_the_changes_that_are_needed_are_left_and_named_in_the_cell(tmp_path: Path) -> None:
    found = minimised(tmp_path, known := Known(lambda keep: "Starved" if {0, 3} <= set(keep) else None))
    assert (found.result, found.changes, found.kept) == ("minimal", 4, (0, 3))
    assert found.cell.name.endswith("-keep-0,3") and found.cell.key.keep == (0, 3)
    assert found.outcome is not None and found.outcome.reasons == ("Starved",)
    assert known.ran[0] == () and len(known.ran) == found.runs == len(set(known.ran))


def test_a_failure_of_another_kind_is_another(tmp_path: Path) -> None:
    found = minimised(tmp_path, Known(lambda keep: "Starved" if {1, 2} <= set(keep) else "Panic"))
    assert (found.result, found.kept) == ("minimal", (1, 2))


def test_a_failure_that_no_change_is_needed_for_is_told(tmp_path: Path) -> None:
    found = minimised(tmp_path, known := Known(lambda keep: "Starved"))
    assert (found.result, found.kept, found.runs, known.ran) == ("none_needed", (), 1, [()])


def test_a_failure_that_all_are_needed_for_is_told(tmp_path: Path) -> None:
    found = minimised(tmp_path, Known(lambda keep: "Starved" if len(keep) == 4 else None))
    assert (found.result, found.kept) == ("all", (0, 1, 2, 3))


def test_no_more_runs_than_are_allowed_or_than_until_it_is_cancelled(tmp_path: Path) -> None:
    def kind(keep: Keep) -> ReasonKind | None:
        return "Starved" if 3 in keep else None

    few = minimised(tmp_path, known := Known(kind), runs=3)
    assert (few.result, few.kept, few.runs, len(known.ran)) == ("cut_short", (2, 3), 3, 3)
    stopped = minimised(tmp_path, Known(kind, cancelled_at=1))
    assert (stopped.result, stopped.kept) == ("cut_short", (0, 1, 2, 3))


def test_kinds_are_those_of_what_failed() -> None:
    assert kinds_of(came("x", "Starved")) == {"Starved"}
    assert kinds_of(came("x", None)) == frozenset()
