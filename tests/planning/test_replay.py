"""Which cells are replayed, under which options, and why one is dropped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.config.model import CellKey
from ktstr.errors import InputError
from ktstr.options import Building, GraphOptions, Running, Select
from ktstr.planning import replay
from ktstr.planning.replay import chosen, plan_replay, spelled
from ktstr.planning.request import Request
from ktstr.record.failed import FailedCell
from tests.cells.plans import plan
from tests.results.failed import failed_cell

YAML = """
kernels: {default: "deb:forky/cloud-amd64", old: 6.12}
schedulers:
  mine: {path: /bin/true}
  picky: {path: /bin/true, kernels: [old]}
presets: {one: 1n1l1c1t, four: 1n1l4c1t}
tests:
  t: {cgroups: [{name: a, swappable: true}]}
  wide: {constraints: {min_cpus: 4}, cgroups: [a]}
  fast: {performance_mode: true, cgroups: [a]}
"""


def cell(**changes: Any) -> FailedCell:
    return failed_cell(**{"preset": "one", **changes})


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """A request of a project that declares all that."""
    (tmp_path / "ktstr.yaml").write_text(YAML)
    return plan(tmp_path).request


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that plans were made of."""
    requests: list[Request] = []

    def make(request: Request, beside: object) -> object:
        assert (beside is None) == (not requests)
        requests.append(request)
        return object()

    monkeypatch.setattr(replay, "make_plan", make)
    return requests


CELLS = (cell(), cell(test="wide", seed=0), cell(scheduler="picky", kernel="6.14", label="kernel_6_14", accel="tcg"))


@pytest.mark.parametrize(
    ("select", "left"),
    [
        (Select(), (0, 1, 2)),
        (Select(test=("wi*",)), (1,)),
        (Select(scheduler=("mine",), seed=3), (0,)),
        (Select(scheduler=("./target/picky",)), (2,)),
        (Select(scheduler=("tree:picky",)), (2,)),
        (Select(kernel=("6.14",)), (2,)),
        (Select(kernel=("kernel_6*", "none")), (2,)),
        (Select(seeds=("0..2",)), (1,)),
        (Select(accel="tcg"), (2,)),
        (Select(preset=("one",), accel="icount"), (0, 1)),
    ],
)
def test_the_usual_variables_narrow_the_cells(select: Select, left: tuple[int, ...]) -> None:
    assert chosen(CELLS, select) == tuple(CELLS[at] for at in left)


def test_a_selection_that_leaves_none_is_an_error_but_no_failed_cell_is_none() -> None:
    with pytest.raises(InputError, match="leaves none of 3 cells that did not pass"):
        chosen(CELLS, Select(test=("other",)))
    with pytest.raises(InputError, match="seeds=x: expected seeds"):
        chosen(CELLS, Select(seeds=("x",)))
    assert chosen((), Select(test=("other",))) == ()


def test_exactly_the_cells_are_planned_those_of_one_way_to_ask_together(
    request_: Request, asked: list[Request]
) -> None:
    slow = cell(seed=9, accel="tcg", asked={"work_type": "Mixed", "kconfig": "minimal,debug", "release": "1"})
    made = plan_replay(request_, [cell(), slow, cell(seed=4)], times=5)
    assert made.dropped == ()
    assert [(group.cells, group.times) for group in made.groups] == [((cell(), cell(seed=4)), 1), ((slow,), 5)]
    first, second = asked
    assert first.narrowing.keys == tuple(CellKey("t", "one", "default", "mine", seed) for seed in (3, 4))
    assert first.options == GraphOptions(select=Select(accel="icount"))
    assert second.options == GraphOptions(
        select=Select(accel="tcg", work_type="Mixed"),
        building=Building(kconfig=("minimal", "debug")),
        running=Running(rerun=True, release=True),
    )


def test_what_is_asked_for_now_wins_over_what_was(request_: Request, asked: list[Request]) -> None:
    options = GraphOptions(select=Select(work_type="Bursty"), building=Building(CC="gcc-13"), running=Running(jobs=1))
    was = cell(asked={"work_type": "Mixed", "CC": "gcc-12", "LLVM": "-19", "no_clone": "1"})
    plan_replay(replace(request_, options=options), [was], 1)
    (own,) = asked
    assert own.options.select.work_type == "Bursty"
    assert own.options.building == Building(CC="gcc-13", LLVM="-19")
    assert own.options.running == Running(jobs=1, no_clone=True)


def test_a_scheduler_that_was_named_and_not_declared_is_named_again(request_: Request, asked: list[Request]) -> None:
    made = plan_replay(request_, [cell(scheduler="true", asked={"scheduler": "/usr/bin/true"})], 1)
    assert (len(made.groups), made.dropped) == (1, ())
    assert asked[0].options.select.scheduler == ("/usr/bin/true",)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (cell(test="wid"), "the test wid is no longer declared, nearest match 'wide'"),
        (cell(preset="some-such-preset"), "the preset some-such-preset is no longer declared"),
        (cell(scheduler="mime"), "the scheduler mime is no longer declared, nearest match 'mine'"),
        (cell(kernel="olf", label="olf"), "the kernel olf is no longer declared, nearest match 'old'"),
        (cell(kernel="stable", label="stable"), "the kernel stable is no longer declared"),
        (cell(test="wide"), "needs at least 4 CPUs, 1n1l1c1t has 1"),
        (cell(scheduler="picky"), "picky is declared for kernels old, this one is default"),
    ],
)
def test_a_cell_that_is_there_no_more_is_dropped_with_the_reason(
    request_: Request, asked: list[Request], gone: FailedCell, reason: str
) -> None:
    made = plan_replay(request_, [gone], 1)
    assert (made.groups, asked) == ((), [])
    assert [(drop.cell, drop.reason) for drop in made.dropped] == [(gone, reason)]


def test_what_the_options_of_now_skip_is_dropped(request_: Request, asked: list[Request]) -> None:
    options = GraphOptions(running=Running(no_perf_mode=True))
    made = plan_replay(replace(request_, options=options), [cell(test="fast")], 1)
    assert [drop.reason for drop in made.dropped] == ["asks for performance mode; no_perf_mode=1 is given"]


def test_a_kernel_that_only_a_label_names_is_spelled_as_the_user_does(tmp_path: Path) -> None:
    labelled = cell(kernel="kernel_6_14", label="kernel_6_14")
    assert [one.kernel for one in spelled([labelled, cell()], ("6.14", "not a kernel"), tmp_path)] == [
        "6.14",
        "default",
    ]
