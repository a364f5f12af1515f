"""What decides the inputs of a cell: the class of host too, where time is real."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.config.load import parse
from ktstr.planning import points
from ktstr.planning.points import CellMaker, CellPlan, Judged
from ktstr.results.judged import Row
from tests.cells.plans import TEXT, cell

HOSTS = [("GenuineIntel", "6", "0x1"), ("GenuineIntel", "6", "0x2")]  # nothing but the microcode differs


def planned(folder: Path, accel: str, earlier: CellPlan | None = None) -> CellPlan:
    """The cell on a machine of this kind; ``earlier``: its plan in a run whose row is remembered."""
    known = cell(folder)
    machine = SimpleNamespace(accel=accel, digest="e" * 64, label=accel, command_line=lambda spec: ("qemu",))
    chosen = SimpleNamespace(machine=machine, task="tool:qemu")
    config = parse(TEXT[:-1] + b", presets: {one: 1n1l1c1t}}", Path("ktstr.yaml"), validated=True)
    rows: dict[str, Any] = {}
    if earlier is not None:
        rows[earlier.name] = SimpleNamespace(digest=earlier.input_digest, basis=earlier.point.basis)
    images = SimpleNamespace(image=lambda scheduler, kernel: known.point.image)
    kernels = {"default": known.point.kernel}
    maker = CellMaker(
        config, cast(Any, kernels), cast(Any, images), cast(Any, chosen), Judged(cast(dict[str, Row], rows), ())
    )
    made = maker.make(known.key)
    assert isinstance(made, CellPlan)
    return made


@pytest.mark.parametrize(("accel", "same"), [("icount", True), ("tcg", False), ("kvm", False)])
def test_what_one_host_measured_in_real_time_is_no_result_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accel: str, same: bool
) -> None:
    monkeypatch.setattr(points, "host_class", lambda: HOSTS[0])
    here = planned(tmp_path, accel)
    assert planned(tmp_path, accel, here).input_digest == here.input_digest
    monkeypatch.setattr(points, "host_class", lambda: HOSTS[1])
    assert (planned(tmp_path, accel).input_digest == here.input_digest) is same
    assert (planned(tmp_path, accel, here).input_digest == here.input_digest) is same  # its row is not believed either


@pytest.mark.parametrize(("accel", "seconds"), [("kvm", 30), ("icount", 245), ("tcg", 240)])
def test_how_long_attaching_may_take_is_the_machines_unless_it_is_declared(
    tmp_path: Path, accel: str, seconds: int
) -> None:
    declared = planned(tmp_path, accel).point.scheduler
    assert declared.attach_timeout_ns == seconds * 1_000_000_000
