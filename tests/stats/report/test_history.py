from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pygit2
import pytest

from ktstr.stats.pool import load_pool
from ktstr.stats.report.cells import GroupKey
from ktstr.stats.report.history import MAX_SERIES, Observation, history
from ktstr.stats.report.observations import change_indexes, commit_order, observations
from ktstr.stats.report.view import drawn_series
from tests.results.cells import sidecar
from tests.stats.pools import put
from tests.stats.report.runs import failed, with_metrics


def none(medians: Sequence[float]) -> list[int]:
    return []


def one(commit: str, value: float, when: str = "2026-01-01T00:00:00Z", scenario: str = "s") -> Observation:
    return Observation(scenario, "worst_gap_ms", commit, when, value)


def test_commits_come_in_the_order_of_the_project_and_unknown_ones_before_by_time() -> None:
    seen = [
        one("b", 2, "2026-01-01T00:00:00Z"),
        one("a", 1, "2026-05-01T00:00:00Z"),
        one("y", 3, "2026-03-02T00:00:00Z"),
        one("x", 4, "2026-03-01T00:00:00Z"),
    ]
    (series,) = history(seen, {"a": 0, "b": 1}, none).series
    assert [point.commit for point in series.points] == ["x", "y", "a", "b"]
    assert series.unit == "ms"


def test_a_commits_runs_are_one_point() -> None:
    values = {"a": (1, 2, 3), "b": (1, 2, 9), "c": (4, 6)}
    (series,) = history([one(commit, v) for commit, all_of_it in values.items() for v in all_of_it], {}, none).series
    points = [(point.median, point.low, point.high, point.samples) for point in series.points]
    assert points == [(2, 1, 3, 3), (2, 1, 9, 3), (5, 4, 6, 2)]


def test_what_has_two_commits_or_never_moves_is_no_history() -> None:
    assert history([one("a", 1), one("b", 2)], {}, none).series == ()
    assert history([one(commit, 1) for commit in "abc"], {}, none).series == ()


def test_series_that_changed_come_first_and_no_more_than_fit() -> None:
    seen = [one(commit, at, scenario=f"s{n:02}") for n in range(MAX_SERIES + 5) for at, commit in enumerate("abc")]
    changed = [one("a", 5, scenario="zz"), one("b", 50, scenario="zz"), one("c", 50, scenario="zz")]
    found = history([*seen, *changed], {}, lambda medians: [1] if medians[1] == 50 else [])
    assert (found.series[0].scenario, found.series[0].changes) == ("zz", (1,))
    assert (len(found.series), found.left_out) == (MAX_SERIES, 6)


def test_a_change_of_level_is_found_and_drawn() -> None:
    values = [10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 20.0, 20.1, 19.9, 20.2, 19.8, 20.0]
    assert change_indexes(values) == [6]
    seen = [one(f"c{at:02}", value, f"2026-01-{at + 1:02}T00:00:00Z") for at, value in enumerate(values)]
    drawn = drawn_series(history(seen, {}, change_indexes).series[0])
    assert drawn.chart.count('class="change"') == 1
    assert "10 at c00, 20 at c11; changes of level: c06" in drawn.chart


def test_values_are_of_passed_runs_of_these_scenarios(tmp_path: Path) -> None:
    mine = with_metrics(sidecar(kernel_label="k"), iteration_rate=5.0)
    put(tmp_path, "r1/a", mine)
    put(tmp_path, "r1/b", failed("Unfair", "x", kernel_label="k", seed=8))
    put(tmp_path, "r2/c", sidecar(kernel_label="k", test_name="other"))
    put(tmp_path, "r2/d", sidecar(kernel_label="k", project_commit=None))
    found = observations(load_pool(tmp_path), {GroupKey("steady", "tiny", "k", "scx_ktstr", "icount")})
    assert {(value.scenario, value.commit) for value in found} == {("steady/tiny/k/scx_ktstr/icount", "abc1234")}
    assert [value.value for value in found if value.metric == "iteration_rate"] == [5.0]


def test_the_order_is_that_of_git(tmp_path: Path) -> None:
    repository = pygit2.init_repository(str(tmp_path))
    author = pygit2.Signature("a", "a@example.org", 1_700_000_000, 0)  # all at one time: parents decide
    tree = repository.TreeBuilder().write()
    parents: list[pygit2.Oid] = []
    made = []
    for at in range(3):
        parents = [repository.create_commit("HEAD", author, author, str(at), tree, parents)]
        made.append(str(parents[0])[:7])
    assert commit_order(tmp_path) == {name: at for at, name in enumerate(made)}


@pytest.mark.parametrize("broken", ["none", "empty"])
def test_without_commits_there_is_no_order(tmp_path: Path, broken: str) -> None:
    if broken == "empty":
        pygit2.init_repository(str(tmp_path))
    assert commit_order(tmp_path) == {}
