"""What is kept of what was seen of a guest, and guests that cannot be watched."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from ktstr.cells import watching
from ktstr.cells.watching import Blind, Seen
from ktstr.record.guest import SILENT
from ktstr.record.samples import MonitorSample


def seen(*at_ns: int, begun_ns: int | None = None) -> Seen:
    return Seen(tuple(MonitorSample(at_ns=at, cpus=()) for at in at_ns), (), begun_ns, None, 0.5)


def kept(*at_ns: int, begin: int | None, accel: str = "icount") -> list[int]:
    guest = replace(SILENT, begin_tsc=begin if accel == "icount" else None)
    found = watching.record(seen(*at_ns, begun_ns=begin if accel != "icount" else None), guest, accel)
    assert found.begin_ns == begin
    return [sample.at_ns for sample in found.samples]


@pytest.mark.parametrize("accel", ["icount", "kvm"])
def test_the_scenarios_samples_are_kept_and_two_before(accel: str) -> None:
    assert kept(1, 2, 3, 4, 5, begin=4, accel=accel) == [2, 3, 4, 5]
    assert kept(4, 5, begin=4, accel=accel) == [4, 5]
    assert kept(1, 2, 3, begin=9, accel=accel) == [2, 3]


def test_of_a_scenario_that_never_began_the_last_ones_are() -> None:
    assert kept(*range(100), begin=None) == list(range(34, 100))


def test_a_kernel_that_cannot_be_read_says_why_and_nothing_is_made_up(tmp_path: Path) -> None:
    found = watching.eyes_for(tmp_path / "none")
    assert isinstance(found, Blind) and "none" in found.why
    record = watching.record(found, SILENT, "icount")
    assert (record.samples, record.unwatched, record.cost_s) == ((), found.why, None)
