from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.load import load
from ktstr.config.model import Config
from ktstr.config.select import Selection, expand
from ktstr.errors import InputError
from ktstr.planning.sweep import check_schedulers, swept

YAML = """
kernels: {a: "deb:forky/cloud-amd64", b: "debsrc:6.12"}
schedulers:
  one: {path: one, checks: {max_gap_ms: 1}, expect: refused}
  two: {path: two}
tests:
  mine: {cgroups: [{name: x}]}
matrices:
  first: {tests: mine, presets: [smt-2llc, tiny-2llc], schedulers: [one, eevdf]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "ktstr.yaml").write_text(YAML)
    return swept(load(tmp_path / "ktstr.yaml"))


def points(config: Config, **chosen: tuple[str, ...]) -> set[tuple[str, str, str]]:
    keys = expand(config, Selection(**chosen)).cells  # type: ignore[arg-type]
    assert {key.test for key in keys} == {"verifier"}
    return {(key.scheduler, key.kernel, key.preset) for key in keys}


def test_each_scheduler_is_swept_over_all_kernels_and_its_own_topologies(config: Config) -> None:
    assert points(config) == {
        (scheduler, kernel, preset)
        for scheduler, presets in (("one", ("smt-2llc", "tiny-2llc")), ("two", ("tiny-1llc",)))
        for kernel in ("a", "b")
        for preset in presets
    }


def test_a_selection_narrows_and_widens_it(config: Config) -> None:
    assert points(config, scheduler=("two",), kernel=("b",)) == {("two", "b", "tiny-1llc")}
    assert points(config, scheduler=("one",), kernel=("a",), preset=("odd-3llc",)) == {("one", "a", "odd-3llc")}


def test_a_topology_that_is_named_is_every_schedulers(tmp_path: Path) -> None:
    (tmp_path / "ktstr.yaml").write_text(YAML)
    everywhere = swept(load(tmp_path / "ktstr.yaml"), everywhere=True)
    assert points(everywhere, kernel=("a",), preset=("smt-2llc",)) == {
        (name, "a", "smt-2llc") for name in ("one", "two")
    }


def test_what_a_scheduler_is_held_to_elsewhere_is_no_matter_here(config: Config) -> None:
    assert (config.schedulers["one"].checks, config.schedulers["one"].expect) == ({}, None)


def test_the_kernels_own_scheduler_is_refused_by_name(config: Config) -> None:
    with pytest.raises(InputError, match="eevdf is the kernel's own"):
        check_schedulers(config, ("eevdf",))
    check_schedulers(config, ("one", "no_such"))  # the second is for the selection to complain of
