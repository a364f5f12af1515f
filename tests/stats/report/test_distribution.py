from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.stats.report.cells import CellGroup, cell_of, grouped
from ktstr.stats.report.distribution import (
    MetricSpread,
    Samples,
    Scenario,
    Shift,
    Side,
    samples_of,
    scenarios,
    shift_of,
)
from ktstr.stats.report.view import scenario_view, shift_text
from tests.results.cells import sidecar
from tests.stats.report.runs import failed, with_metrics


def runs(scheduler: str, *rates: float) -> list[CellGroup]:
    made = [
        with_metrics(sidecar(scheduler=scheduler, seed=seed), iteration_rate=rate) for seed, rate in enumerate(rates)
    ]
    return list(grouped(cell_of(Path(f"{scheduler}{at}"), whole) for at, whole in enumerate(made)))


def test_the_kernels_own_scheduler_is_the_base_and_the_shift_is_above_it() -> None:
    (scenario,) = scenarios([*runs("aaa", 11, 12, 13, 14, 15, 16, 17), *runs("eevdf", 1, 2, 3, 4, 5, 6, 7)])
    assert scenario.sides == ("eevdf", "aaa")
    (spread,) = scenario.metrics  # all other metrics are the same in all runs
    assert (spread.metric, spread.unit, spread.better) == ("iteration_rate", "iter/s", "higher")
    base, other = spread.sides
    assert base.shift is None and base.samples == samples_of((1, 2, 3, 4, 5, 6, 7))
    assert other.shift is not None and other.shift.estimate == 10 and other.shift.apart


def test_runs_that_did_not_pass_have_no_numbers_to_compare() -> None:
    bad = cell_of(Path("bad"), with_metrics(failed("Unfair", "x", seed=9), iteration_rate=1e9))
    cells = [cell for group in runs("eevdf", 1, 2) for cell in group.cells]
    (scenario,) = scenarios(grouped([*cells, bad]))
    assert scenario.metrics[0].sides[0].samples.high == 2


def test_one_seed_is_no_distribution() -> None:
    assert scenarios([*runs("eevdf", 1), *runs("aaa", 2)]) == ()


def test_a_shift_of_equal_sides_is_not_apart_and_few_runs_have_no_interval() -> None:
    assert not shift_of([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).apart
    assert shift_of([1, 2], [3, 4]) == Shift(2.0, None, None)


@pytest.mark.parametrize(
    ("shift", "base", "text"),
    [
        (Shift(10, 5, 20), 200, "+5 % [+2.5, +10]"),
        (Shift(-1, -2, 3), 0, "\u22121 us [\u22122, +3]"),
        (Shift(2, None, None), 8, "+25 %, too few runs for an interval"),
    ],
)
def test_shifts_are_said_in_percent_of_the_base(shift: Shift, base: float, text: str) -> None:
    assert shift_text(shift, base, "us") == text


def test_each_run_is_a_point_and_a_thousand_are_thinned_with_their_extremes() -> None:
    (few,) = scenarios(runs("eevdf", *range(10)))
    assert scenario_view(few).metrics[0].rows[0].strip.count("<circle") == 10
    (many,) = scenarios(runs("eevdf", *range(300)))
    row = scenario_view(many).metrics[0].rows[0]
    assert row.strip.count("<circle") == 200 and row.samples.high == 299


def test_where_only_a_summary_is_known_no_run_is_made_up() -> None:
    known = Samples((), 5, 2.0, 1.0, 3.0)
    spread = MetricSpread("m", "", None, (Side("A", known), Side("B", known)))
    row = scenario_view(Scenario("s", ("A", "B"), (spread,))).metrics[0].rows[0]
    assert "<circle" not in row.strip and 'class="range"' in row.strip
