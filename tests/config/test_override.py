from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.load import parse
from ktstr.config.model import Config
from ktstr.config.override import with_work_type
from ktstr.config.scenario import Work
from ktstr.errors import InputError
from ktstr.record.vocabulary import WORK_TYPES

TEXT = """
kernels: {k: deb:forky/cloud-amd64}
tests:
  plain:
    cgroups:
      - {name: a, workers: 4, swappable: true}
      - {name: b, workers: 4}
      - {name: odd, workers: 3, swappable: true, nice: 2}
      - {name: with_params, work: Bursty, burst: 5ms, workers: 2, swappable: true}
  stepped:
    backdrop: {cgroups: [{name: bg, swappable: true}]}
    steps:
      - ops: [{op: spawn, cgroup: bg, swappable: true}]
        cgroups: [{name: c, swappable: true}]
"""


def config(text: str = TEXT) -> Config:
    return parse(text.encode(), Path("/p/ktstr.yaml"))


def works(of: Config, test: str) -> list[Work]:
    return [work for cgroup in of.tests[test].cgroups for work in cgroup.works]


def test_without_a_type_all_is_as_declared() -> None:
    declared = config()
    assert with_work_type(declared, None) is declared


def test_swappable_works_that_fit_the_group_are_replaced_with_the_type_s_own_parameters() -> None:
    a, b, odd, bursty = works(with_work_type(config(), "PipeIo"), "plain")
    assert (a.work_type, a.params, a.workers) == ("PipeIo", (("burst_iters", 1024),), 4)
    assert b.work_type == "SpinWait"
    assert (odd.work_type, odd.nice) == ("SpinWait", 2)
    assert (bursty.work_type, bursty.params) == ("PipeIo", (("burst_iters", 1024),))


def test_a_type_without_groups_fits_all_and_one_s_own_type_keeps_its_parameters() -> None:
    a, b, odd, bursty = works(with_work_type(config(), "Bursty"), "plain")
    assert [work.work_type for work in (a, b, odd)] == ["Bursty", "SpinWait", "Bursty"]
    assert bursty.params == (("burst_ns", 5_000_000), ("sleep_ns", 100_000_000))


def test_those_of_steps_and_backdrop_are_replaced_and_those_of_ops_are_not() -> None:
    test = with_work_type(config(), "YieldHeavy").tests["stepped"]
    assert test.backdrop.cgroups[0].works[0].work_type == "YieldHeavy"
    assert test.steps[0].cgroups[0].works[0].work_type == "YieldHeavy"
    assert test.steps[0].ops == config().tests["stepped"].steps[0].ops


def test_an_unknown_type_is_told_with_the_nearest_one() -> None:
    with pytest.raises(InputError) as err:
        with_work_type(config(), "YieldHevy")
    assert str(err.value) == (
        f"work_type=YieldHevy: found no such work type, expected one of {', '.join(WORK_TYPES)},"
        " nearest match 'YieldHeavy'\n  fix: work_type=YieldHeavy"
    )
    with pytest.raises(InputError, match="work_type=Sequence: found a type that is what its phases are"):
        with_work_type(config(), "Sequence")
    with pytest.raises(InputError, match="nearest match 'SpinWait'"):
        with_work_type(config(), "CpuSpin")


def test_where_nothing_may_be_replaced_that_is_told() -> None:
    declared = config("tests: {t: {cgroups: [a]}}")
    with pytest.raises(InputError, match="work_type=Mixed: found no work with swappable: true"):
        with_work_type(declared, "Mixed")
