"""What tells which input of a cell changed: each change shows in its own part alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.config.load import parse
from ktstr.planning.images import FilesPart
from ktstr.planning.inputs import inputs_of
from ktstr.planning.points import CellPlan
from ktstr.record.inputs import INPUTS
from ktstr.vm.machine import Machine
from tests.cells.plans import MACHINE, cell

_TEST = parse(b"{tests: {pair: {cgroups: [{name: left, workers: 3}]}}}", Path("k.yaml"), validated=True).tests["pair"]


def point(planned: CellPlan, **changes: Any) -> CellPlan:
    return replace(planned, point=replace(planned.point, **changes))


def image(planned: CellPlan, **changes: Any) -> CellPlan:
    return point(planned, image=replace(planned.point.image, **changes))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda one: one, set()),
        (lambda one: image(one, scheduler="f" * 64), {"scheduler"}),
        (lambda one: image(one, agent="f" * 64), {"agent"}),
        (lambda one: image(one, files=(FilesPart("t", "f" * 64, Path("x"), 1),)), {"files"}),
        (lambda one: point(one, test=_TEST), {"scenario"}),
        (lambda one: point(one, test=replace(one.point.test, checks={"max_gap_ms": 9})), {"limits"}),
        (lambda one: point(one, scheduler=replace(one.point.scheduler, checks={"max_gap_ms": 9})), {"limits"}),
        (lambda one: point(one, release=True), {"limits"}),
        (lambda one: point(one, command=("qemu", "-m", "64")), {"machine"}),
        (lambda one: point(one, parking=("machine", "nosmt")), {"machine"}),
        (lambda one: point(one, kernel=replace(one.point.kernel, place=replace(one.point.kernel.place, identity="c"))),
         {"kernel"}),
    ],
)  # fmt: skip
def test_a_change_shows_in_its_part_alone(tmp_path: Path, change: Any, parts: set[str]) -> None:
    planned = cell(tmp_path)
    old, new = inputs_of(planned, MACHINE), inputs_of(change(planned), MACHINE)
    assert {name for name in INPUTS if old.get(name) != new.get(name)} == parts
    assert {*old, *new} <= set(INPUTS)


def test_what_runs_the_guest_is_a_part(tmp_path: Path) -> None:
    other = cast(Machine, SimpleNamespace(accel="icount", digest="0" * 64))
    old, new = inputs_of(cell(tmp_path), MACHINE), inputs_of(cell(tmp_path), other)
    assert {name for name in old if old[name] != new[name]} == {"emulator"}
