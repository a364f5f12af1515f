"""When the data are looked at."""

from __future__ import annotations

import pytest

from ktstr.stats.inference import Look, looks


@pytest.mark.parametrize("runs", [1, 2, 3, 5, 6])
def test_few_runs_are_looked_at_once(runs: int) -> None:
    assert looks(runs, 0.05) == (Look(runs, 0.05),)


def test_half_the_runs_spend_what_obrien_and_fleming_spend() -> None:
    """2 (1 - Phi(1.95996 / 0.70711)) = 0.005575."""
    first, last = looks(20, 0.05)
    assert (first.runs, last.runs) == (10, 20)
    assert first.alpha == pytest.approx(0.005575, abs=1e-6)


@pytest.mark.parametrize("runs", range(1, 60))
def test_all_looks_together_spend_alpha(runs: int) -> None:
    schedule = looks(runs, 0.05)
    assert sum(look.alpha for look in schedule) == pytest.approx(0.05)
    assert schedule[-1].runs == runs
    assert [look.runs for look in schedule] == sorted({look.runs for look in schedule})


def test_a_look_that_could_find_nothing_spends_nothing() -> None:
    """At 5 runs a side the least p is 2 / 252 = 0.0079, above 0.0056."""
    assert looks(10, 0.05) == (Look(5, 0.0), Look(10, 0.05))


def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="0 runs"):
        looks(0, 0.05)
