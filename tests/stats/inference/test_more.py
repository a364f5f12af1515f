"""How many more runs an undecided metric is said to need."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
from scipy.stats import norm

from ktstr.stats.inference.more import MOST, Need, more_runs
from ktstr.stats.inference.ranks import Shift, shifts

MOVED = Need(10, 10, Shift(0.2, 1e-5, 5.0, -5.0, 15.0), 2.0, 0.05, 0.95)


def test_of_a_shift_beyond_the_floor() -> None:
    """Half width 10 of n=10 at 95 % (z 1.960); 5 at 5 %, for 80 % (z 0.8416): 10 (2 * 2.8016 / 1.9600)^2 = 81.7."""
    assert more_runs(MOVED) == 72
    z = norm.isf([0.05 / 120, 0.2, 0.025])
    needed = 10 * (2 * (z[0] + z[1]) / z[2]) ** 2
    assert more_runs(replace(MOVED, level=0.05 / 60)) == int(np.ceil(needed - 10))


def test_of_a_shift_inside_the_floor() -> None:
    """The interval has to fit into what is left of the floor: 25 - 5 = 20, half of 10 * 2.8016 / 1.96 squared."""
    inside = replace(MOVED, floor=25.0)
    assert more_runs(inside) == 1  # 5.1 in all, fewer than there are: any more may do
    assert more_runs(replace(inside, floor=10.0)) == 72


def test_never_fewer_than_a_p_of_the_level_takes() -> None:
    """Alone among 60 metrics: 7 runs a side."""
    clear = Need(4, 4, Shift(0.03, 0.03, 100.0, 99.9, 100.1), 2.0, 0.05 / 60, 0.95)
    assert more_runs(clear) == 3
    assert more_runs(replace(clear, n_a=6, n_b=4)) == 3


def test_without_an_interval_the_first_runs_that_have_one() -> None:
    assert more_runs(Need(2, 2, Shift(0.3, 0.3, 100.0, nan, nan), 2.0, 0.05, 0.95)) == 2


def test_on_the_edge_of_the_floor_there_is_no_end() -> None:
    assert more_runs(replace(MOVED, floor=5.0 + 1e-9)) == MOST
    assert more_runs(replace(MOVED, level=0.0)) == MOST


def test_the_runs_it_asks_for_decide_about_as_often_as_it_says() -> None:
    """A shift of 4, noise 10: half width at n=20 1.96 * 10 * sqrt(2 / 20 / 0.955) = 6.4. Found in about 80 % then."""
    random = np.random.default_rng(11)
    n = 20 + more_runs(Need(20, 20, Shift(0.2, 1e-9, 4.0, 4 - 6.4, 4 + 6.4), 2.0, 0.05, 0.95))
    again = shifts([(random.normal(0, 10, n), random.normal(4, 10, n)) for _ in range(400)], 0.95)
    assert 0.65 < sum(s.p <= 0.05 for s in again) / 400 < 0.9
