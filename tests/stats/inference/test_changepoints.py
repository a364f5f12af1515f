"""Known series."""

from __future__ import annotations

import numpy as np
import pytest

from ktstr.stats.inference import change_points
from ktstr.stats.inference.changepoints import _best_cut
from ktstr.stats.inference.samples import Values


def noisy(levels: list[tuple[int, float]], noise: float, seed: int) -> Values:
    """Runs of (length, level)."""
    random = np.random.default_rng(seed)
    return np.concatenate([level + noise * random.standard_normal(length) for length, level in levels])


def test_one_step_is_found_where_it_is() -> None:
    (found,) = change_points(noisy([(20, 100), (20, 110)], 2, 1))
    assert found.index == 20
    assert found.before == pytest.approx(100, abs=1)
    assert found.after == pytest.approx(110, abs=1)
    assert found.p <= 0.01


def test_up_and_down_again() -> None:
    found = change_points(noisy([(25, 100), (15, 112), (25, 100)], 2, 2))
    assert [point.index for point in found] == [25, 40]


def test_a_step_without_noise_is_found_exactly() -> None:
    (found,) = change_points(np.array([5.0] * 8 + [6.0] * 8))
    assert (found.index, found.before, found.after) == (8, 5.0, 6.0)


def test_one_outlier_is_no_change() -> None:
    series = noisy([(40, 100)], 1, 3)
    series[20] = 200.0
    assert change_points(series) == ()


@pytest.mark.parametrize("series", [[], [1.0], [1.0, 9.0, 1.0, 9.0, 2.0], [3.0] * 50])
def test_too_short_or_flat_has_none(series: list[float]) -> None:
    assert change_points(np.array(series)) == ()


def test_five_values_are_too_few_even_when_clear() -> None:
    assert change_points(np.array([1.0, 1.0, 1.0, 9.0, 9.0])) == ()


def test_the_same_series_has_the_same_points() -> None:
    series = noisy([(15, 100), (15, 102)], 2, 4)
    assert change_points(series, 0.2) == change_points(series, 0.2)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        change_points(np.array([1.0, np.nan, 2.0]))


def test_best_cut_is_that_of_the_definition() -> None:
    """n m / (n + m) (2 E|X - Y| - E|X - X'| - E|Y - Y'|) over unordered pairs, for each cut by plain loops."""

    def mean_inside(part: Values) -> float:
        pairs = [abs(x - y) for i, x in enumerate(part) for y in part[:i]]
        return float(np.mean(pairs)) if pairs else 0.0

    series = noisy([(7, 0), (9, 1)], 1, 5)
    slow = {}
    for cut in range(3, series.size - 2):
        for end in range(cut + 3, series.size + 1):
            x, y = series[:cut], series[cut:end]
            across = float(np.mean([abs(v - w) for v in x for w in y]))
            slow[cut, end] = x.size * y.size / end * (2 * across - mean_inside(x) - mean_inside(y))
    best = _best_cut(series)
    assert best is not None
    assert best.index == max(slow, key=lambda place: slow[place])[0]
    assert best.distance == pytest.approx(max(slow.values()))


def test_series_without_a_change_are_seldom_cut() -> None:
    """60 series of 30 values at 1 %: more than four cut ones would have a probability below 0.001."""
    cut = sum(bool(change_points(noisy([(30, 0)], 1, seed))) for seed in range(100, 160))
    assert cut <= 4
