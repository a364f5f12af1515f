"""Workers from their spawn to their stop, at moments that are easily missed. Costs a guest of one vCPU: 5 s.

A vCPU alone, and an agent that is above everything, make what is asked here exact: nothing runs between two ops of
which neither waits.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.record.vocabulary import SchedPolicy, WorkType
from ktstr.scenarios.program import (
    OWN_CGROUP,
    Delay,
    Hold,
    Op,
    Program,
    Release,
    Repeat,
    Scope,
    Selector,
    Spawn,
    StopWorkers,
    Work,
    Worker,
)
from tests.e2e.programs import MS, Guests, S, at_ns, whole

pytestmark = pytest.mark.e2e

HOUR = 3600 * S
EARLIER, LATER, EARLY, DUE, HOG, STARVED, UNRELEASED = range(7)
ROUNDS = (*range(7, 11), 12, 13)  # the last of threads
SLEEPERS = (1000, HOUR)  # of a Bursty: a burst, then a sleep that only its stop ends


def _work(
    type: WorkType, *start_offsets_ns: int, params: tuple[int, ...] = (), fifo: bool = False, threads: bool = False
) -> Work:  # fmt: skip
    workers = tuple(map(Worker, start_offsets_ns))
    policy: SchedPolicy = "fifo" if fifo else "normal"
    return Work(type, OWN_CGROUP, workers, params, policy, 98 if fifo else 0, threads=threads)


WORKS = (
    _work("Bursty", *(0,) * 8, params=SLEEPERS),
    _work("Bursty", *(0,) * 8, params=SLEEPERS),
    _work("SpinWait", 10 * S),
    _work("SpinWait", 20 * MS),
    _work("SpinWait", 0, fifo=True),
    _work("SpinWait", 0),
    _work("Bursty", 0, params=SLEEPERS),
    _work("Bursty", 0, params=SLEEPERS),
    _work("FutexPingPong", 0, 0, params=(0,)),
    _work("PipeIo", 0, 0, params=(0,)),
    _work("ForkExit", 0),
    # Never spawned: they take their share of the memory for samples, which all that spawn would have to map.
    _work("SpinWait", *(0,) * 2000),
    _work("PipeIo", 0, 0, 0, 0, params=(0,), threads=True),
    _work("ForkExit", 0, 0, threads=True),
)
NEVERS, MANY = 40, 15


def _of(work: int) -> Selector:
    return Selector(work=work)


SECOND_RELEASE = Release(_of(LATER))
SECOND_HOLD = Hold(30 * MS)
ALL_ROUNDS = Repeat(
    tuple(
        Scope((Spawn(work), Release(_of(work)), Delay(0, 1 * MS), StopWorkers(_of(work)))) for work in ROUNDS
    ),
    count=MANY,
)  # fmt: skip
NEVER_RELEASED = Repeat((Scope((Spawn(UNRELEASED), Delay(0, 2 * MS), StopWorkers(_of(UNRELEASED)))),), count=NEVERS)
FIRST, SPAWN_EARLIER = Hold(10 * MS), Spawn(EARLIER)
OPS: tuple[Op, ...] = (
    FIRST,
    SPAWN_EARLIER, Release(_of(EARLIER)), StopWorkers(_of(EARLIER)),
    Spawn(LATER), SECOND_RELEASE, SECOND_HOLD, StopWorkers(_of(LATER)),
    Spawn(EARLY), Spawn(DUE), Release(), Hold(50 * MS), StopWorkers(),
    Spawn(HOG), Spawn(STARVED), Release(), Hold(100 * MS), StopWorkers(),
    NEVER_RELEASED, ALL_ROUNDS,
)  # fmt: skip
PROGRAM = Program(7, 60 * S, works=WORKS, ops=OPS)


@pytest.fixture(scope="module")
def record(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("life"), PROGRAM)
    assert record.errors == ()
    return record


def reports(record: GuestRecord, work: int) -> list[WorkerReport]:
    return [report for report in record.workers if report.work_index == work]


def test_the_memory_of_many_workers_takes_no_time_before_they_are_spawned(record: GuestRecord) -> None:
    """Above all the deadline guard, which outranks every scheduler, does not lock it. What it does lock is little."""
    assert 10 * MS <= at_ns(record, PROGRAM, SPAWN_EARLIER)[0] - at_ns(record, PROGRAM, FIRST)[0] < 15 * MS


def test_a_second_release_waits_for_those_that_it_releases(record: GuestRecord) -> None:
    """Eight workers take more than 2 ms to be ready; then each has its burst, of microseconds, before as long again."""
    found = reports(record, LATER)
    assert len(found) == 8 and whole(found)
    assert at_ns(record, PROGRAM, SECOND_HOLD)[0] - at_ns(record, PROGRAM, SECOND_RELEASE)[0] > 2 * MS
    assert max(report.max_gap_ns for report in found) < 2 * MS
    assert all(30 * MS < report.wall_time_ns < 45 * MS and report.work_units for report in found)


def test_a_worker_that_is_stopped_during_its_start_offset_measured_nothing(record: GuestRecord) -> None:
    (early,) = reports(record, EARLY)
    assert early.completed and early.exit_info is None
    measured = (early.wall_time_ns, early.max_gap_ns, early.max_stall_ns, early.work_units, early.wake_sample_total)
    assert measured == (0, 0, 0, 0, 0)
    (due,) = reports(record, DUE)
    assert due.completed and due.work_units
    assert 29 * MS < due.wall_time_ns < 40 * MS  # of the 50 ms it was released for


def test_a_worker_that_was_due_and_never_ran_measured_that(record: GuestRecord) -> None:
    """Beside a real-time one: the kernel lends other tasks 50 ms of a second, late in it."""
    (hog,), (starved,) = reports(record, HOG), reports(record, STARVED)
    assert hog.work_units and whole((hog, starved))
    assert starved.work_units == 0
    assert 100 * MS <= starved.wall_time_ns < 110 * MS
    assert 100 * MS <= starved.max_gap_off_cpu_ns <= starved.max_gap_ns <= starved.wall_time_ns


@pytest.mark.parametrize("work", ROUNDS, ids=lambda work: f"{WORKS[work].type}{work}")
def test_a_stop_ends_a_worker_at_once_wherever_it_is(record: GuestRecord, work: int) -> None:
    found = reports(record, work)
    assert len(found) == MANY * len(WORKS[work].workers) and whole(found)
    assert {report.spawn for report in found} == set(range(MANY))


def test_a_stop_ends_a_worker_at_once_that_was_not_released(record: GuestRecord) -> None:
    found = reports(record, UNRELEASED)
    assert len(found) == NEVERS and whole(found)
    assert {report.wall_time_ns for report in found} == {0}


def test_no_round_waited_for_a_stop_that_was_lost(record: GuestRecord) -> None:
    """A stop waits five seconds before it kills; all rounds together take less."""
    for begun, ended in (at_ns(record, PROGRAM, NEVER_RELEASED), at_ns(record, PROGRAM, ALL_ROUNDS)):
        assert ended - begun < 5 * S
    assert record.delays_drawn == NEVERS + MANY * len(ROUNDS)
    assert all(a.at_ns <= b.at_ns for a, b in pairwise(record.stimuli))
