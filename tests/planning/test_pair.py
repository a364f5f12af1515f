"""Two commits planned side by side: which tests, which schedulers, and in which order their cells run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.config.load import parse
from ktstr.config.model import CellKey, Config, SchedulerOp
from ktstr.config.select import Selection
from ktstr.errors import InputError
from ktstr.planning.pair import (
    Couple,
    chosen_tests,
    interleaved,
    perf_set,
    programs_of,
    refuse_untracked,
    relevant_schedulers,
)
from tests.cells.plans import cell

ROOT = Path("/project")
YAML = b"""\
kernels: {default: deb:forky/cloud-amd64}
schedulers:
  mine: {source: src/mine}
  other: {source: src/other}
  built: {path: out/scx_built}
  away: {path: /usr/bin/scx_away}
tests:
  gated: {duration: 1s, cgroups: [{name: a}], perf_delta: [iteration_rate]}
  pinned: {duration: 1s, performance_mode: true, cgroups: [{name: a}]}
  plain: {duration: 1s, cgroups: [{name: a}]}
matrices:
  all: {tests: [gated, pinned, plain], presets: [tiny-1llc], schedulers: [mine, built]}
"""


@pytest.fixture
def config() -> Config:
    return parse(YAML, ROOT / "ktstr.yaml")


def test_the_perf_set_is_what_declares_limits_and_on_kvm_what_is_undisturbed_too(config: Config) -> None:
    assert perf_set(config, "icount") == ("gated",)
    assert perf_set(config, "kvm") == ("gated", "pinned")


def test_a_selection_narrows_the_perf_set_and_does_not_widen_it(config: Config) -> None:
    assert chosen_tests(config, "kvm", ()) == ("gated", "pinned")
    assert chosen_tests(config, "kvm", ("p*",)) == ("pinned",)
    assert chosen_tests(config, "icount", ("plain",)) == ()
    with pytest.raises(InputError, match="no such test"):
        chosen_tests(config, "icount", ("gatde",))


@pytest.mark.parametrize(
    ("changed", "schedulers"),
    [
        (["docs/a.md", "README.md"], ()),
        (["src/mine/a.bpf.c"], ("mine",)),
        (["src/other/x.h", "README.md", "src/mine/y.c"], ("other", "mine")),
        (["src/mine/notes.md"], ()),
        (["src/mine/a.bpf.c", "ktstr.yaml"], None),
        (["src/miner/a.c"], None),
        ([], ()),
    ],
)
def test_what_a_change_is_about(config: Config, changed: list[str], schedulers: tuple[str, ...] | None) -> None:
    assert relevant_schedulers(config, ROOT, ROOT, changed) == schedulers


def test_a_change_of_one_that_takes_others_places_may_be_about_any_of_them(config: Config) -> None:
    op = SchedulerOp(0, "replace", None, "mine")
    swaps = replace(config, tests=config.tests | {"swaps": replace(config.tests["plain"], scheduler_ops=(op,))})
    assert relevant_schedulers(swaps, ROOT, ROOT, ["src/mine/a.bpf.c"]) is None
    assert relevant_schedulers(swaps, ROOT, ROOT, ["src/other/x.h"]) == ("other",)


def test_programs_are_looked_up_for_the_cells_that_are_selected_however_a_matrix_has_them(config: Config) -> None:
    assert programs_of(config, Selection(("gated",))) == ("built",)
    assert programs_of(config, Selection(("gated",), scheduler=("o*", "mine"))) == ()
    assert programs_of(config, Selection(("gated",), scheduler=("away",))) == ("away",)
    included = YAML.replace(
        b"schedulers: [mine, built]}", b"schedulers: ['o*'], include: [{test: gated, scheduler: built}]}"
    )
    assert programs_of(parse(included, ROOT / "ktstr.yaml"), Selection(("gated",))) == ("built",)


def test_one_that_takes_another_s_place_is_a_program_of_the_cells_too(config: Config) -> None:
    op = SchedulerOp(0, "replace", None, "away")
    gated = replace(config.tests["gated"], scheduler_ops=(op,))
    swaps = replace(config, tests=config.tests | {"gated": gated})
    assert programs_of(swaps, Selection(("gated",), scheduler=("mine",))) == ("away",)


def test_a_program_that_no_commit_has_is_refused(config: Config) -> None:
    tracked = frozenset({"out/scx_built"})
    refuse_untracked(config, ROOT, tracked, ("mine", "built"))
    for names in (("built",), ("mine", "away")):
        with pytest.raises(InputError, match="not tracked by git") as caught:
            refuse_untracked(config, ROOT, frozenset() if "built" in names else tracked, names)
        assert "source:" in (caught.value.fix or "")


def test_a_project_below_its_repository_has_its_programs_tracked_there(config: Config) -> None:
    refuse_untracked(config, ROOT.parent, frozenset({"project/out/scx_built"}), ("built",))
    with pytest.raises(InputError, match="not tracked by git"):
        refuse_untracked(config, ROOT.parent, frozenset({"out/scx_built"}), ("built",))


def couple(folder: Path, seed: int, preset: str = "tiny-1llc", digests: tuple[str, str] = ("a", "b")) -> Couple:
    known = cell(folder)
    key = replace(known.key, seed=seed, preset=preset)
    base, head = (
        replace(known, name=f"{side}/{preset}-s{seed}", key=key, input_digest=digest * 64)
        for side, digest in zip(("base", "head"), digests, strict=True)
    )
    return Couple(base, head)


def test_sides_take_turns_a_b_b_a_and_machines_stay_together(tmp_path: Path) -> None:
    couples = [couple(tmp_path, seed, preset) for seed in (1, 2, 3) for preset in ("one", "two")]
    order = [(cell.name, other.name) for cell, other in interleaved(couples)]
    assert [name for name, _ in order] == [
        f"{side}/{preset}-s{seed}"
        for preset in ("one", "two")
        for seed, sides in ((1, ("base", "head")), (2, ("head", "base")), (3, ("base", "head")))
        for side in sides
    ]
    assert all(name.partition("/")[2] == other.partition("/")[2] and name != other for name, other in order)


def test_cells_of_equal_inputs_are_the_same(tmp_path: Path) -> None:
    assert couple(tmp_path, 1, digests=("a", "a")).is_same
    assert not couple(tmp_path, 1).is_same
    assert isinstance(couple(tmp_path, 1).head.key, CellKey)
