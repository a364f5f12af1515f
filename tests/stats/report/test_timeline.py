from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ktstr.record.guest import GuestCpu, GuestRecord, Migration, Stimulus, VcpuReport
from ktstr.record.sidecar import Sidecar, StimulusEvent
from ktstr.stats.report.timeline import MAX_STAYS, Stay, timeline_of
from tests.checks.reports import MS, S, heard, worker
from tests.results.cells import cell, sidecar

RELEASED = (Stimulus(10 * MS, "Release", "workers", 0), Stimulus(2010 * MS, "StopWorkers", "workers", 9))


def said(**changes: Any) -> Sidecar:
    return sidecar(perturbations={"generator": "g", "seed": 1, "start_offsets_ns": (0, 5 * MS)}, **changes)


def guest(**changes: object) -> GuestRecord:
    return heard(stimuli=RELEASED, **changes)


def test_a_worker_begins_at_its_release_after_its_offset_and_is_where_it_migrated_to() -> None:
    moved = worker(
        1, migration_count=2, cpus_used=(0, 3), migrations=(Migration(100 * MS, 0, 3), Migration(500 * MS, 3, 0))
    )
    line = timeline_of(said(), guest(workers=(moved,)))
    assert line is not None
    assert line.stays == (Stay(1, 0, 15, 115), Stay(1, 3, 115, 515), Stay(1, 0, 515, 2015))
    assert (line.moved, line.placed, line.from_record) == (2, 2, True)


def test_where_the_guest_kept_no_more_moments_nothing_is_drawn() -> None:
    moved = worker(0, migration_count=9, cpus_used=(0, 1), migrations=(Migration(100 * MS, 0, 1),))
    line = timeline_of(said(), guest(workers=(moved,)))
    assert line is not None
    assert line.stays == (Stay(0, 0, 10, 110),)
    assert (line.moved, line.placed) == (9, 1)


def test_a_gap_is_where_the_worker_was_before_it() -> None:
    stuck = worker(0, max_gap_ns=30 * MS, max_gap_at_ns=200 * MS, max_gap_cpu=2, max_gap_off_cpu_ns=20 * MS)
    line = timeline_of(said(), guest(workers=(stuck,)))
    assert line is not None
    (row,) = line.workers
    assert (row.gap.cpu, row.gap.start_ms, row.gap.end_ms, row.off_cpu_ms) == (2, 210, 240, 20)
    assert [lane.cpu for lane in line.lanes] == [0, 1, 2]  # two have vCPU times


def test_a_worker_spawned_again_is_placed_by_its_end() -> None:
    again = worker(0, spawn=1, wall_time_ns=S)
    line = timeline_of(said(), guest(workers=(again,)))
    assert line is not None
    assert line.stays == (Stay(0, 0, 1010, 2010),)


def test_without_a_record_only_workers_that_stayed_have_a_place() -> None:
    whole = said(
        stimulus_events=(StimulusEvent(10, "StepStart[0]", "Release", None, 0),),
        vcpu_times=(VcpuReport(0, 7 * MS, 0, 1),),
    )
    still, moved = (replace(one, migration_count=count) for one, count in zip(whole.workers, (0, 4), strict=True))
    whole = replace(whole, workers=(replace(still, cpus_used=(0,)), replace(moved, cpus_used=(0, 1))))
    line = timeline_of(whole, None)
    assert line is not None
    assert [stay.worker for stay in line.stays] == [0]
    assert (line.moved, line.placed, line.from_record) == (4, 0, False)
    assert [(lane.cpu, lane.ran_ms) for lane in line.lanes] == [(0, 7), (1, None)]


def test_lanes_know_their_llc() -> None:
    cpus = tuple(GuestCpu(cpu, 0, 0, (cpu // 2 * 2, cpu // 2 * 2 + 1), (cpu,)) for cpu in range(4))
    line = timeline_of(said(vcpu_times=()), guest(cpus=cpus, workers=(worker(0),)))
    assert line is not None
    assert [(lane.cpu, lane.llc) for lane in line.lanes] == [(0, 0), (1, 0), (2, 2), (3, 2)]


def test_a_run_in_which_no_worker_reported_has_no_timeline() -> None:
    assert timeline_of(said(workers=()), None) is None
    assert timeline_of(said(), guest()) is None


def test_what_a_drawing_cannot_hold_is_said() -> None:
    many = tuple(Migration(at * 1000, at % 2, (at + 1) % 2) for at in range(2 * MAX_STAYS))
    moved = worker(0, migration_count=len(many), cpus_used=(0, 1), migrations=many)
    line = timeline_of(said(), guest(workers=(moved,)))
    assert line is not None
    assert len(line.stays) == MAX_STAYS
    assert line.left_out == (f"{MAX_STAYS + 1} stays on a CPU, the last ones",)


def test_the_record_of_a_real_shape_gives_one() -> None:
    line = timeline_of(sidecar(), cell().guest)
    assert line is not None
    assert [step.label for step in line.steps] == ["AddCgroup", "Release", "StopWorkers"]
