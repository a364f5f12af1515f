"""Ops that repeat, wait, measure and fail, each seen in what the guest reports of it.

Costs two guests of one vCPU, 6 s.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.record.guest import GuestRecord, Progress, WorkerReport
from ktstr.scenarios.program import (
    OWN_CGROUP,
    AddCgroup,
    Cgroup,
    Checkpoint,
    Delay,
    Hold,
    Kill,
    Op,
    Payload,
    Program,
    Read,
    Release,
    RemoveCgroups,
    Repeat,
    Run,
    Scope,
    Spawn,
    StopWorkers,
    Wait,
    Work,
    Worker,
    Write,
)
from tests.e2e.programs import (
    MS,
    Guests,
    S,
    at_ns,
    events_of,
    op_errors,
    payload,
    place,
    printed,
    read_by,
    whole,
)

pytestmark = pytest.mark.e2e

NOWHERE = "/nonexistent"
SPINNER, SLEEPER, AGAIN = range(3)
EXITS, ABORTS, UNKNOWN, LONG, COUPLE, LINES, LIST = range(7)
CHECKPOINTS = (Checkpoint(10), Checkpoint(11), Checkpoint(10), Checkpoint(12))
DELAY, PLAIN, INNER_DELAY, UPTIME = Delay(2 * MS, 1 * MS), Delay(1 * MS), Delay(0, 700_000), Read("/proc/uptime")
THRICE, FOR_A_WHILE = Repeat((DELAY, PLAIN), count=3), Repeat((UPTIME,), duration_ns=30 * MS, interval_ns=7 * MS)
INNER = Repeat((INNER_DELAY,), count=2)
OUTER = Repeat((INNER,), count=2)
WRITE, READ = Write(NOWHERE, "x", on_error="record"), Read(NOWHERE, on_error="record")
RUN, WAIT = Run(UNKNOWN, on_error="record"), Wait(LONG, 10 * MS, on_error="record")
LATER = Hold(1 * MS)
OPS: tuple[Op, ...] = (
    Spawn(SPINNER), Spawn(SLEEPER), Release(), Hold(15 * MS), CHECKPOINTS[0], Hold(25 * MS), CHECKPOINTS[1],
    Hold(5 * MS), CHECKPOINTS[2], StopWorkers(), CHECKPOINTS[3],
    THRICE, FOR_A_WHILE, OUTER,
    Repeat((Scope((Spawn(AGAIN), Release(), Hold(2 * MS))),), count=3),
    WRITE, READ, RUN, LATER,
    Run(EXITS), Wait(EXITS, S), Run(ABORTS), Wait(ABORTS, S), Run(LONG), WAIT, Kill(LONG),
    Run(COUPLE), Hold(5 * MS), Kill(COUPLE), Run(LIST), Wait(LIST, S),
    Repeat((Scope((Run(LINES), Wait(LINES, 5 * S))),), count=3),
)  # fmt: skip
PROGRAM = Program(
    0x9E3779B97F4A7C15,
    30 * S,
    works=(
        Work("SpinWait", OWN_CGROUP, (Worker(),)),
        Work("Bursty", OWN_CGROUP, (Worker(),), (1000, 3600 * S)),
        Work("SpinWait", OWN_CGROUP, (Worker(),)),
    ),
    payloads=(
        payload("exit", "7"), payload("abort"), Payload((NOWHERE,)), payload("sleep", "600000"), payload("couple"),
        payload("write", "102400"), payload("processes"),
    ),
    ops=OPS,
)  # fmt: skip


@pytest.fixture(scope="module")
def record(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("time"), PROGRAM)
    assert record.errors == ()
    return record


def told(record: GuestRecord, op: Op) -> list[int | None]:
    """The iterations with which an op was told."""
    return [stimulus.iteration for stimulus in record.stimuli if stimulus.index == place(OPS, op)]


def splitmix(seed: int, below: int, draws: int) -> int:
    """What the draw of that number gives, counted from 1: Steele, Lea and Flood's generator, scaled."""
    z = (seed + draws * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (z ^ z >> 31) * below >> 64


class TestCheckpoints:
    def test_they_come_under_their_phases_also_when_nobody_works(self, record: GuestRecord) -> None:
        found = record.checkpoints or ()
        assert [(c.phase, c.op, len(c.workers)) for c in found] == [
            (op.phase, place(OPS, op), workers) for op, workers in zip(CHECKPOINTS, (2, 2, 2, 0), strict=True)
        ]

    def test_what_they_tell_adds_up_to_the_report(self, record: GuestRecord) -> None:
        """On a lone vCPU nothing runs between the last of them and the stop, but to the end of a piece of work."""
        for work, most in ((SPINNER, 8192), (SLEEPER, 0)):
            (report,) = (found for found in record.workers if found.work_index == work)
            deltas = self._of(record, report)
            assert 0 <= report.work_units - sum(d.work_units for d in deltas) <= most
            assert 0 <= report.iterations - sum(d.iterations for d in deltas) <= (1 if most else 0)
            assert 0 <= report.cpu_time_ns - sum(d.cpu_time_ns for d in deltas) < 1 * MS
            assert max(d.max_gap_ns for d in deltas) <= report.max_gap_ns

    def test_each_tells_its_own_part(self, record: GuestRecord) -> None:
        (spinner,) = (found for found in record.workers if found.work_index == SPINNER)
        deltas = self._of(record, spinner)
        for delta, held_ms in zip(deltas, (15, 25, 5), strict=True):
            assert (held_ms - 3) * MS < delta.cpu_time_ns < (held_ms + 1) * MS
        assert deltas[1].work_units > 1.3 * deltas[0].work_units > 3 * deltas[2].work_units

    def _of(self, record: GuestRecord, report: WorkerReport) -> list[Progress]:
        return [p for c in record.checkpoints or () for p in c.workers if (p.worker, p.spawn) == (report.index, 0)]


class TestRepeat:
    def test_by_count_it_is_told_when_it_begins_and_with_its_passes_when_it_ends(self, record: GuestRecord) -> None:
        assert (told(record, THRICE), told(record, DELAY), told(record, PLAIN)) == ([0, 3], [0], [0])

    def test_by_duration_it_begins_no_pass_after_that(self, record: GuestRecord) -> None:
        """At 0, 7, 14, 21 and 28 ms of 30."""
        assert told(record, FOR_A_WHILE) == [0, 5]
        assert len(read_by(record, PROGRAM, UPTIME)) == 5
        begun, ended = at_ns(record, PROGRAM, FOR_A_WHILE)
        assert 30 * MS <= ended - begun < 31 * MS

    def test_inside_of_another_it_is_told_in_the_first_pass_of_that(self, record: GuestRecord) -> None:
        assert (told(record, OUTER), told(record, INNER), told(record, INNER_DELAY)) == ([0, 2], [0, 2], [0])

    def test_workers_of_each_pass_report(self, record: GuestRecord) -> None:
        again = [report for report in record.workers if report.work_index == AGAIN]
        assert [report.spawn for report in again] == [0, 1, 2] and whole(again)
        assert all(2 * MS <= report.wall_time_ns < 4 * MS and report.work_units for report in again)


def test_a_delay_draws_from_the_seed_and_lasts_as_long(record: GuestRecord) -> None:
    drawn = [(op, 1 * MS) for op in [DELAY] * 3] + [(op, 700_000) for op in [INNER_DELAY] * 4]
    expected = [(place(OPS, op), splitmix(PROGRAM.seed, below, n)) for n, (op, below) in enumerate(drawn, 1)]
    assert [(delay.op, delay.ns) for delay in record.delays or ()] == expected
    assert record.delays_drawn == 7
    jitter = [ns for _, ns in expected]
    for op, least in ((THRICE, 9 * MS + sum(jitter[:3])), (OUTER, sum(jitter[3:]))):
        begun, ended = at_ns(record, PROGRAM, op)
        assert least <= ended - begun < least + 1 * MS


class TestErrors:
    def test_those_that_are_recorded_name_their_op_and_the_run_goes_on(self, record: GuestRecord) -> None:
        missing = "No such file or directory"
        assert op_errors(record, PROGRAM, WRITE) == [f"cannot write x to {NOWHERE}: {missing}"]
        assert op_errors(record, PROGRAM, READ) == [f"cannot read {NOWHERE}: {missing}"]
        assert op_errors(record, PROGRAM, RUN) == [f"payload {UNKNOWN}: cannot start {NOWHERE}: {missing}"]
        assert op_errors(record, PROGRAM, WAIT) == [f"payload {LONG}: still runs after 10 ms"]
        assert len(record.op_errors or ()) == 4
        assert told(record, LATER) == [0]

    def test_a_fatal_one_ends_the_run_which_only_takes_down_what_there_is(self, guests: Guests, tmp_path: Path) -> None:
        ops = (
            Scope((AddCgroup(0), Spawn(0), Release(), Hold(5 * MS), Write(NOWHERE, "x"), Hold(9 * S), Run(0))),
            Read("/proc/uptime"), Hold(9 * S), StopWorkers(), RemoveCgroups(),
        )  # fmt: skip
        works = (Work("SpinWait", 0, (Worker(),)),)
        program = Program(1, 30 * S, (Cgroup("one"),), works, (payload("say", "x"),), ops)
        record = guests.run(tmp_path, program)
        assert record.errors == (f"cannot write x to {NOWHERE}: No such file or directory",)
        assert [s.op for s in record.stimuli[5:]] == ["Write", "StopWorkers", "RemoveCgroups"]
        assert whole(record.workers) and len(record.workers) == 1
        assert (record.reads, record.payload_events) == (None, None)
        assert record.end_ns is not None and record.end_ns < 1 * S


class TestPayloads:
    def test_how_each_ended_is_told(self, record: GuestRecord) -> None:
        assert events_of(record, EXITS) == [("started", 0), ("exited", 7)]
        assert events_of(record, ABORTS) == [("started", 0), ("signaled", 6)]
        assert events_of(record, UNKNOWN) == [("spawn_failed", 2)]
        assert events_of(record, LONG) == [("started", 0), ("timed_out", 0), ("killed", 0)]
        assert events_of(record, LINES) == [("started", 0), ("exited", 0)] * 3

    def test_a_killed_one_leaves_nobody_of_its_group(self, record: GuestRecord) -> None:
        assert events_of(record, COUPLE) == [("started", 0), ("killed", 0)]
        assert [line for line in printed(record, LIST).splitlines() if "payload" in line] == ["payload 0 0::/"]

    def test_what_one_prints_in_all_its_runs_is_no_more_than_one_log(self, record: GuestRecord) -> None:
        """100 KiB of numbered lines each time, of which 256 KiB are told."""
        lines = printed(record, LINES).splitlines()
        assert len(printed(record, LINES)) == 256 << 10
        assert [int(line) for line in lines] == [*range(1600, 0, -1)] * 2 + [*range(1600, 704, -1)]
