from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import Sidecar
from ktstr.stats.report.cells import Cell, cell_of, failures, grouped, read_run
from ktstr.stats.report.heat import heat_maps
from tests.results.cells import sidecar
from tests.stats.pools import put
from tests.stats.report.runs import HOSTILE, SEEDS, SIZE, failed, fill, hostile, matrix


def cells_of(*sidecars: Sidecar) -> list[Cell]:
    return [cell_of(Path(f"{at}.ktstr.json"), whole) for at, whole in enumerate(sidecars)]


def test_a_run_has_its_cells_and_what_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path, "r/good")
    put(tmp_path, "r/icount-s1/bad", b"{")
    run = read_run(tmp_path / "r")
    assert [cell.path.name for cell in run.cells] == ["good.ktstr.json"]
    (bad,) = run.unread
    assert "r/icount-s1/bad.ktstr.json:1:2: is no JSON" in bad


def test_a_folder_that_cannot_be_listed_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="gone: cannot be listed"):
        read_run(tmp_path / "gone")


def test_verdicts_are_those_of_the_sidecar() -> None:
    cells = cells_of(
        sidecar(),
        failed("Unfair", "x"),
        failed("Machine", "x", "inconclusive"),
        failed("Skip", "x", "skip", skipped=True),
    )
    assert [cell.verdict for cell in cells] == [Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.SKIP]


def test_the_command_runs_this_cell_alone() -> None:
    (cell,) = cells_of(sidecar(kernel_label="default"))
    assert cell.command("./doit") == (
        "./doit test test=steady preset=tiny kernel=default scheduler=scx_ktstr accel=icount seed=7 rerun=1"
    )


def test_a_name_that_a_shell_would_run_is_quoted() -> None:
    (cell,) = cells_of(sidecar(scheduler="x; rm -rf /"))
    assert shlex.split(cell.command("doit"))[5] == "scheduler=x; rm -rf /"


def test_seeds_of_one_cell_are_one_group_worst_first() -> None:
    seeds = [failed("Unfair", "x", seed=3), sidecar(seed=1), failed("Unfair", "x", seed=2)]
    (group,) = grouped(cells_of(*seeds))
    assert [cell.seed for cell in group.cells] == [2, 3, 1]
    assert group.counts == {Outcome.FAIL: 2, Outcome.PASS: 1}
    assert [cell.seed for cell in group.failing] == [2, 3]


def test_what_says_most_of_the_system_is_first_and_inconclusive_last() -> None:
    found = failures(
        grouped(
            cells_of(
                failed("Machine", "x", "inconclusive", test_name="a"),
                failed("Unfair", "x", test_name="b"),
                failed("Panic", "x", test_name="c"),
                sidecar(test_name="d"),
            )
        )
    )
    assert [failure.worst.test for failure in found] == ["c", "b", "a"]


def test_one_cause_is_one_entry() -> None:
    evicted = [failed("Evicted", f"{at}", test_name=test, preset=f"p{at}") for at, test in enumerate("abab")]
    unfair = [failed("Unfair", "x", test_name=test) for test in "ab"]
    other = failed("Evicted", "x", scheduler="another")
    found = failures(grouped(cells_of(*evicted, *unfair, other)))
    assert [(f.worst.scheduler, f.worst.reasons[0].kind, len(f.groups)) for f in found] == [
        ("scx_ktstr", "Evicted", 4),
        ("another", "Evicted", 1),
        ("scx_ktstr", "Unfair", 1),
        ("scx_ktstr", "Unfair", 1),
    ]


def test_a_map_has_the_worst_verdict_of_each_place_and_the_smallest_machine_first(tmp_path: Path) -> None:
    (found,) = heat_maps(read_run(fill(tmp_path)).groups)
    assert [column.preset for column in found.columns] == ["odd", "tiny", "numa", "smt"]  # 3, 4, 8 and 8 CPUs
    stalls = found.rows[[row.test for row in found.rows].index("stalls")]
    shown = [(place.verdict, place.like_worst, place.total) for place in stalls.places if place]
    assert shown == [("fail", 5, SEEDS), ("pass", SEEDS, SEEDS), ("fail", SEEDS, SEEDS), ("fail", SEEDS, SEEDS)]


def test_schedulers_have_maps_of_their_own_and_holes_where_nothing_ran() -> None:
    first, second = heat_maps(
        grouped(
            cells_of(sidecar(test_name="a", preset="x"), sidecar(test_name="b", preset="y"), sidecar(scheduler="eevdf"))
        )
    )
    assert (first.scheduler, second.scheduler) == ("eevdf", "scx_ktstr")
    assert [[place is None for place in row.places] for row in second.rows] == [[False, True], [True, False]]


def test_a_label_that_is_no_machine_has_a_place() -> None:
    (found,) = heat_maps(grouped(cells_of(sidecar(topology="9999n9999l9999c9999t"))))
    assert [column.label for column in found.columns] == ["9999n9999l9999c9999t"]


def test_the_matrix_is_what_it_says() -> None:
    verdicts = [cell.verdict for cell in cells_of(*(whole for _, whole in matrix()))]
    assert (len(verdicts), verdicts.count(Outcome.FAIL), verdicts.count(Outcome.INCONCLUSIVE)) == (SIZE, 25, 5)


def test_hostile_names_are_kept_as_they_are_until_they_are_shown() -> None:
    (cell,) = cells_of(hostile())
    assert cell.test == HOSTILE
