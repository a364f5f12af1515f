"""What came of a scenario's seeds, told from their outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as changed

from ktstr.cells.explored import Asked, Seeds, by_scenario, explored, result_digest
from ktstr.errors import HostError
from ktstr.results.ledger import CellOutcome, failure
from tests.cells.plans import cell, plan
from tests.results.cells import sidecar

ASKED = Asked(2, None, False, lambda cell: f"run {cell.key.seed}")


def seeds(folder: Path, *outcomes: CellOutcome) -> Seeds:
    """Seeds 0, 1 and so on of one scenario, which came to these."""
    planned = cell(folder)
    cells = [
        replace(planned, name=planned.name.replace("-s7", f"-s{n}"), key=replace(planned.key, seed=n))
        for n in range(len(outcomes))
    ]
    known = {one.name: replace(outcome, name=one.name) for one, outcome in zip(cells, outcomes, strict=True)}
    (found,) = by_scenario(replace(plan(folder), cells=tuple(cells)), known)
    return found


def passed(gap_ms: int) -> CellOutcome:
    whole = sidecar()
    late = changed(whole, stats=changed(whole.stats, worst_gap_ms=gap_ms), load_ns=gap_ms)
    return CellOutcome("", "pass", (), sidecar=changed(late, workers=late.workers[: 1 + gap_ms % 2]))


def failed(gap_ms: int) -> CellOutcome:
    return replace(passed(gap_ms), verdict="fail", reasons=("late",))


def test_seeds_are_counted_ranked_and_told_with_their_commands(tmp_path: Path) -> None:
    made = seeds(tmp_path, passed(10), passed(2000), failed(31), passed(40))
    found = explored(made, ASKED, None)
    assert (found.name, found.seeds, found.counts) == ("pair/one/default/eevdf/icount", 4, {"pass": 3, "fail": 1})
    assert found.failure_rate is not None and (found.failure_rate.failed, found.failure_rate.judged) == (1, 3)
    assert [(worst.seed, worst.value, worst.reproduce) for worst in found.worst] == [
        (2, 31, "run 2"),
        (1, 2000, "run 1"),
    ]
    assert found.ranking is not None and (found.ranking.metric, found.ranking.check) == ("worst_gap_ms", "max_gap_ms")
    assert made.first_failure is not None and made.first_failure[0].key.seed == 2
    assert (found.measured, found.distinct) == (4, 2)  # their workers did one of two things


def test_a_run_that_a_failure_ended_has_no_rate_and_what_was_not_run_is_counted(tmp_path: Path) -> None:
    found = explored(
        seeds(tmp_path, passed(1), failed(2), CellOutcome("", "not run", ())), replace(ASKED, stopped=True), None
    )
    assert found.failure_rate is None
    assert (found.counts, found.measured) == ({"pass": 1, "fail": 1, "not run": 1}, 2)


def test_what_the_environment_could_not_do_is_noted_and_no_metric_made_up(tmp_path: Path) -> None:
    broken = failure("", HostError("no memory"))
    found = explored(seeds(tmp_path, broken, broken), replace(ASKED, metric="worst_gap_ms"), None)
    assert found.notes == (
        "metric=worst_gap_ms: no seed measured it",
        "2 in error, the first is seed 0: no memory",
    )
    assert (found.spreads, found.worst, found.failure_rate, found.ranking) == ((), (), None, None)


def test_results_are_the_same_whatever_the_seed_is_called() -> None:
    assert result_digest(sidecar()) == result_digest(changed(sidecar(), seed=99, perturbations=None))
    assert result_digest(sidecar()) != result_digest(changed(sidecar(), workers=()))
