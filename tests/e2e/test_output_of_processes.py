"""Schedulers and payloads that write: without end, all at once, and from children that they left behind.

Costs a guest of two vCPUs and one of one, 10 s.
"""

from __future__ import annotations

import pytest

from ktstr.record.guest import GuestRecord
from ktstr.scenarios.program import (
    OWN_CGROUP,
    Hold,
    Kill,
    Op,
    Program,
    Release,
    Run,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Wait,
    Work,
    Worker,
)
from tests.e2e.programs import MS, SCHEDULER, TWO, Guests, S, events_of, payload, place, printed, whole

pytestmark = pytest.mark.e2e

HOLD = Hold(300 * MS)
START_FLOOD = StartScheduler(3, 250 * MS)
FLOODS = Program(
    1,
    30 * S,
    works=tuple(Work("SpinWait", OWN_CGROUP, (Worker(),), affinity=(cpu,)) for cpu in (0, 1)),
    payloads=(
        payload("write-beside", "4096", SCHEDULER),
        payload("write-for-ever", "4096"),
        payload("write-for-ever", "1"),
        payload("write-for-ever", "65536"),
    ),
    ops=(
        StartScheduler(0, 10 * S), Spawn(0), Spawn(1), Release(), Run(1), Run(2), HOLD, StopWorkers(), Kill(1), Kill(2),
        StopScheduler(5 * S), START_FLOOD, Hold(10 * S),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def flooded(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    return guests.run(tmp_path_factory.mktemp("floods"), FLOODS, topology=TWO)


def lasted(record: GuestRecord, ops: tuple[Op, ...], op: Op) -> int:
    """From an op's begin to that of the one after it, or to the end."""
    number = place(ops, op)
    times = {stimulus.index: stimulus.at_ns for stimulus in record.stimuli}
    end = times.get(number + 1, record.end_ns)
    assert end is not None
    return end - times[number]


def test_floods_do_not_keep_the_agent_from_its_times(flooded: GuestRecord) -> None:
    assert flooded.errors == ()
    assert 300 * MS <= lasted(flooded, FLOODS.ops, HOLD) < 305 * MS
    assert [event.kind for event in flooded.sched_events[:3]] == ["started", "attached", "detached"]


def test_workers_have_their_share_of_the_cpus_beside_floods(flooded: GuestRecord) -> None:
    """Five that spin or write, on two CPUs, take turns: what the agent takes of it is little."""
    assert len(flooded.workers) == 2 and whole(flooded.workers)
    for report in flooded.workers:
        assert report.cpu_time_ns > 0.18 * report.wall_time_ns
        assert report.max_gap_ns < 100 * MS


def test_of_a_payload_that_floods_what_it_wrote_first_is_kept(flooded: GuestRecord) -> None:
    line = "y" * 63 + "\n"
    kept, _, dropped = printed(flooded, 1).partition("\n[... ")
    assert kept == 262016 // 64 * line and dropped.endswith(" bytes dropped ...]\n")
    assert events_of(flooded, 1) == events_of(flooded, 2) == [("started", 0), ("killed", 0)]
    assert set(printed(flooded, 2)) == {"\n"}


def test_a_scheduler_that_floods_and_does_not_attach_is_given_up_in_time(flooded: GuestRecord) -> None:
    assert [event.kind for event in flooded.sched_events[3:]] == ["started", "attach_timeout"]
    assert 250 * MS <= flooded.sched_events[-1].at_ns - flooded.sched_events[-2].at_ns < 260 * MS
    assert lasted(flooded, FLOODS.ops, START_FLOOD) < 600 * MS


LINES, AT_ONCE = 40, 12
LEFT_BEHIND = Program(
    1,
    30 * S,
    payloads=(
        payload("sleep-beside", "2500", SCHEDULER),
        payload("talk-beside", str(LINES), SCHEDULER),
        *(payload("say-late", f"payload {n}", "500") for n in range(2, 2 + AT_ONCE)),
    ),
    ops=(
        *map(Run, range(2, 2 + AT_ONCE)), *(Wait(n, S) for n in range(2, 2 + AT_ONCE)),
        StartScheduler(0, 10 * S), Hold(100 * MS), StopScheduler(5 * S),
        StartScheduler(1, 10 * S), Hold(2 * S), StopScheduler(5 * S),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def left_behind(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("left"), LEFT_BEHIND)
    assert record.errors == ()
    return record


def test_a_scheduler_is_heard_to_its_end_though_a_child_of_the_last_one_ends(left_behind: GuestRecord) -> None:
    assert [event.kind for event in left_behind.sched_events] == ["started", "attached", "detached"] * 2
    said = [line for line in left_behind.sched_log.splitlines() if line.startswith("line ")]
    assert said == [f"line {n}" for n in range(1, LINES + 1)]


def test_all_that_many_payloads_write_at_once_and_how_they_end_arrives(left_behind: GuestRecord) -> None:
    numbers = range(2, 2 + AT_ONCE)
    assert [printed(left_behind, n) for n in numbers] == [f"payload {n}\n" for n in numbers]
    assert [events_of(left_behind, n) for n in numbers] == [[("started", 0), ("exited", 0)]] * AT_ONCE
    kinds = [event.kind for event in left_behind.payload_events or ()]
    assert kinds == ["started"] * AT_ONCE + ["exited"] * AT_ONCE
