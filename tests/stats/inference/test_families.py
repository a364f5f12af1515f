"""Adjusted p values against the procedures' definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.stats.inference.families import benjamini_hochberg, hierarchical, simes

some_p = st.sampled_from([0.0001, 0.001, 0.004, 0.01, 0.02, 0.03, 0.05, 0.2, 0.5, 1.0])
p_values = st.lists(some_p, min_size=1, max_size=12)
levels = st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.3])


def rejected_by_step_up(p: list[float], alpha: float) -> set[int]:
    """Benjamini and Hochberg's words: the largest k with p_(k) <= k alpha / m; reject the k smallest."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    largest = max((k for k in range(1, len(p) + 1) if p[order[k - 1]] <= k * alpha / len(p)), default=0)
    return set(order[:largest])


def rejected_by_two_floors(p: list[float], groups: list[str], alpha: float) -> set[int]:
    """Benjamini and Bogomolov's words: select scenarios, then test inside each at alpha R / m."""
    scenarios = sorted(set(groups))
    members = {s: [i for i, g in enumerate(groups) if g == s] for s in scenarios}
    scenario_p = [simes(np.array([p[i] for i in members[s]])) for s in scenarios]
    selected = rejected_by_step_up(scenario_p, alpha)
    level = alpha * len(selected) / len(scenarios)
    return {
        members[scenarios[s]][j]
        for s in selected
        for j in rejected_by_step_up([p[i] for i in members[scenarios[s]]], level)
    }


@given(p_values, levels)
@settings(max_examples=300, deadline=None)
def test_adjusted_is_at_most_alpha_where_the_step_up_rejects(p: list[float], alpha: float) -> None:
    q = benjamini_hochberg(np.array(p))
    rejected = {i for i in range(len(p)) if q[i] <= alpha * (1 + 1e-12)}
    expected = rejected_by_step_up(p, alpha * (1 + 1e-12))
    assert {p[i] for i in rejected} == {p[i] for i in expected}


@given(p_values, st.lists(st.sampled_from("uvwxyz"), min_size=12, max_size=12), levels)
@settings(max_examples=500, deadline=None)
def test_hierarchical_is_at_most_alpha_where_the_two_floors_reject(
    p: list[float], letters: list[str], alpha: float
) -> None:
    groups = letters[: len(p)]
    q = hierarchical(np.array(p), groups)
    rejected = {i for i in range(len(p)) if q[i] <= alpha * (1 + 1e-12)}
    expected = rejected_by_two_floors(p, groups, alpha * (1 + 2e-12))
    assert {(groups[i], p[i]) for i in rejected} == {(groups[i], p[i]) for i in expected}


def test_known_values() -> None:
    """Five p values worked out by hand: 5 p_(i) / i, then the running minimum from the right."""
    assert benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005, 0.8])).tolist() == pytest.approx(
        [0.025, 0.05, 0.05, 0.025, 0.8]
    )
    assert simes(np.array([0.03, 0.02])) == pytest.approx(0.03)


def test_one_scenario_is_plain_benjamini_hochberg() -> None:
    p = np.array([0.001, 0.2, 0.03, 0.04])
    assert hierarchical(p, ["s"] * 4).tolist() == benjamini_hochberg(p).tolist()


def test_percentiles_that_move_together_vote_once() -> None:
    """Ten copies of one p of 0.04 in one scenario give the other nine scenarios no smaller q."""
    copies = hierarchical(np.array([0.04] * 10 + [0.04] + [0.9] * 8), ["a"] * 10 + [f"s{i}" for i in range(9)])
    single = hierarchical(np.array([0.04, 0.04] + [0.9] * 8), ["a"] + [f"s{i}" for i in range(9)])
    assert copies[10] == pytest.approx(single[1])
    plain = benjamini_hochberg(np.array([0.04] * 10 + [0.04] + [0.9] * 8))
    assert plain[10] < copies[10]


def test_an_empty_family() -> None:
    assert hierarchical(np.array([]), []).size == 0
