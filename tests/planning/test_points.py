"""What decides the inputs of a cell: the class of host too, where time is real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.config.load import parse
from ktstr.planning import hosts
from ktstr.planning.points import CellMaker, CellPlan, Judged, Supplies, input_digest
from ktstr.results.judged import Row
from tests.cells.plans import TEXT, cell

HOSTS = [("GenuineIntel", "6", "0x1"), ("GenuineIntel", "6", "0x2")]  # nothing but the microcode differs


PROJECT = TEXT[:-1] + b", presets: {one: 1n1l1c1t}}"


def planned(
    folder: Path,
    accel: str,
    earlier: CellPlan | None = None,
    *,
    clones: bool = True,
    text: bytes = PROJECT,
    release: bool = False,
) -> CellPlan:
    """The cell on a machine of this kind; ``earlier``: its plan in a run whose row is remembered."""
    known = cell(folder)
    machine = SimpleNamespace(
        accel=accel,
        digest="e" * 64,
        label=accel,
        command_line=lambda spec: ("qemu",),
        parking_line=lambda spec: ("qemu",),
    )
    chosen = SimpleNamespace(machine=machine, tasks=("tools:qemu",))
    config = parse(text, Path("ktstr.yaml"), validated=True)
    rows: dict[str, Any] = {}
    if earlier is not None:
        rows[earlier.name] = SimpleNamespace(digest=earlier.input_digest, basis=earlier.point.basis)
    images = SimpleNamespace(
        image=lambda scheduler, kernel: known.point.image, with_files=lambda image, test, payloads: image
    )
    kernels = {"default": known.point.kernel}
    supplies = Supplies(cast(Any, kernels), cast(Any, images), clones, release=release)
    maker = CellMaker(config, supplies, cast(Any, chosen), Judged(cast(dict[str, Row], rows), ()))
    made = maker.make(known.key)
    assert isinstance(made, CellPlan)
    return made


@pytest.mark.parametrize(("accel", "same"), [("icount", True), ("tcg", False), ("kvm", False)])
def test_what_one_host_measured_in_real_time_is_no_result_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accel: str, same: bool
) -> None:
    monkeypatch.setattr(hosts, "host_class", lambda: HOSTS[0])
    here = planned(tmp_path, accel)
    assert planned(tmp_path, accel, here).input_digest == here.input_digest
    monkeypatch.setattr(hosts, "host_class", lambda: HOSTS[1])
    assert (planned(tmp_path, accel).input_digest == here.input_digest) is same
    assert (planned(tmp_path, accel, here).input_digest == here.input_digest) is same  # its row is not believed either


def test_a_release_is_judged_anew_and_measured_no_more(tmp_path: Path) -> None:
    day, release = planned(tmp_path, "icount"), planned(tmp_path, "icount", release=True)
    assert release.input_digest == day.input_digest and release.point.basis != day.point.basis
    assert (day.point.release, release.point.release) == (False, True)
    assert planned(tmp_path, "icount", release=True).point.basis == release.point.basis


@pytest.mark.parametrize(("accel", "seconds"), [("kvm", 30), ("icount", 245), ("tcg", 240)])
def test_how_long_attaching_may_take_is_the_machines_unless_it_is_declared(
    tmp_path: Path, accel: str, seconds: int
) -> None:
    declared = planned(tmp_path, accel).point.scheduler
    assert declared.attach_timeout_ns == seconds * 1_000_000_000


@pytest.mark.parametrize("accel", ["icount", "tcg"])
def test_clones_of_machines_with_other_kernel_arguments_are_other_cells(tmp_path: Path, accel: str) -> None:
    cell = planned(tmp_path, accel)
    machine = cast(Any, SimpleNamespace(accel=accel, digest="e" * 64))
    other = replace(cell.point, parking=("qemu", "-append", "sysctl.kernel.x=1"))  # all else, the command too, is alike
    assert input_digest(cell.point, cell.program, machine) == cell.input_digest
    assert input_digest(other, cell.program, machine) != cell.input_digest


def test_a_machine_is_addressed_by_all_that_it_is_made_from_and_by_no_seed(tmp_path: Path) -> None:
    point = planned(tmp_path, "icount").point
    parked = point.parked
    assert parked is not None and parked.name == "default/one/eevdf/icount"
    others = (
        replace(point, parking=("qemu", "-m", "1G")),
        replace(point, kernel=replace(point.kernel, place=replace(point.kernel.place, identity="f" * 64))),
        replace(point, image=replace(point.image, digest="f" * 64)),
    )
    for other in others:
        assert other.parked is not None and other.parked.key != parked.key
    starts = replace(point)
    vars(starts)["setup"] = b"starts a scheduler"
    assert starts.parked is not None and starts.parked.key != parked.key
    assert replace(point, command=("another", "cell")).parked == parked


def test_without_clones_each_cell_boots_and_is_another(tmp_path: Path) -> None:
    assert planned(tmp_path, "icount", clones=False).point.parked is None


def test_a_machine_in_real_time_is_one_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for accel, same in (("icount", True), ("tcg", False)):
        keys = set()
        for host in HOSTS:
            monkeypatch.setattr(hosts, "host_class", lambda host=host: host)
            parked = planned(tmp_path, accel).point.parked
            assert parked is not None
            keys.add(parked.key)
        assert (len(keys) == 1) is same


def test_cpus_that_kernel_arguments_hold_are_those_of_the_topology(tmp_path: Path) -> None:
    text = b"""
kernels: {k: 6.14}
presets: {one: 1n2l2c1t}
tests: {pair: {cgroups: [left], kargs: [last], nohz_full: {llc: 1}, isolcpus: {cpus: {exact: 3}, flags: [domain]}}}
"""
    arguments = planned(tmp_path, "icount", text=text).point.kernel_args
    assert set(arguments[-3:-1]) == {"nohz_full=2-3", "isolcpus=domain,3"}
    assert arguments[-1] == "last"


def test_payloads_and_cpus_that_are_offline_are_part_of_what_a_cell_is(tmp_path: Path) -> None:
    text = """
kernels: {k: 6.14}
presets: {one: 1n2l2c1t}
payloads: {bench: {path: ./bench, args: [ARGS]}}
tests: {pair: {cgroups: [left], payloads: [bench], offline: {exact: 3}}}
"""
    one, other = (planned(tmp_path, "icount", text=text.replace("ARGS", args).encode()) for args in ("-x", "-y"))
    assert one.input_digest != other.input_digest
    assert one.point.basis != other.point.basis
    assert one.compiled.payload_names == ("bench",)
    assert one.point.setup != b""  # which takes the CPU offline, though there is no scheduler to attach
