from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ktstr.stats.inference.proportion import proportion


def test_none_of_n_is_at_most_what_n_passes_in_a_row_still_allow() -> None:
    # P(no failure in n) = (1 - p)^n = 2.5 % gives p = 1 - 0.025^(1/n); for 1000 that is 0.368 %
    found = proportion(0, 1000)
    assert found.low == 0.0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 1000))
    assert math.isclose(found.high, 0.003682, abs_tol=1e-6)


def test_the_published_table() -> None:
    # Clopper and Pearson's exact limits for 5 of 10: 0.1871 and 0.8129
    found = proportion(5, 10)
    assert (round(found.low, 4), round(found.high, 4)) == (0.1871, 0.8129)


@given(st.integers(1, 500), st.data())
def test_it_is_what_scipys_own_test_gives(of: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of))
    theirs = binomtest(hits, of).proportion_ci(0.95, "exact")
    ours = proportion(hits, of)
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)
    assert ours.low <= hits / of <= ours.high


@pytest.mark.parametrize(("hits", "of"), [(0, 0), (2, 1), (-1, 5)])
def test_what_is_no_part_of_a_whole_is_refused(hits: int, of: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        proportion(hits, of)
