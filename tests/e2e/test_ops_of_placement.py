"""Ops that put things somewhere, and what the guest's own files and processes then show.

Costs a guest of two vCPUs, 4 s.
"""

from __future__ import annotations

import pytest

from ktstr.record.guest import GuestRecord
from ktstr.scenarios.program import (
    OWN_CGROUP,
    AddCgroup,
    Cgroup,
    Hold,
    Move,
    Op,
    Payload,
    Program,
    Read,
    Release,
    RemoveCgroups,
    Run,
    Scope,
    Selector,
    SetAffinity,
    SetCpus,
    Spawn,
    StopWorkers,
    Wait,
    Work,
    Worker,
    Write,
)
from tests.e2e.programs import MS, SCHEDULER, TWO, Guests, S, events_of, op_errors, payload, printed, read_by, whole

pytestmark = pytest.mark.e2e

ROOT = "/sys/fs/cgroup/ktstr"
SWAPPINESS = "/proc/sys/vm/swappiness"
A, B, FREE, INNER, ABSENT = range(5)
PAIR, SLEEPER, MOVED = range(3)
FAMILY, LOST, MISPLACED = range(3)
FIRST, SECOND = (Selector(work=PAIR, first_worker=n, workers=1) for n in (0, 1))
PAYLOADS: list[Payload] = [
    payload("family", cgroup=INNER),
    payload("say", "nothing", cgroup=ABSENT),
    payload("say", "nothing", affinity=(9,)),
]


def _listing(*words: str, cgroup: int = OWN_CGROUP, affinity: tuple[int, ...] | None = None) -> tuple[int, Op, Op]:
    """A payload of its own that lists something: its number, and the ops that run it."""
    PAYLOADS.append(payload(*words, cgroup=cgroup, affinity=affinity))
    number = len(PAYLOADS) - 1
    return number, Run(number), Wait(number, 5 * S)


PLACED, *LIST_PLACED = _listing("processes", cgroup=FREE, affinity=(1,))
HALF, *LIST_HALF = _listing("processes")
IN_SCOPE, *LIST_IN_SCOPE = _listing("processes")
AFTER, *LIST_AFTER = _listing("processes")
FOLDERS, *LIST_FOLDERS = _listing("folders", ROOT)
FEWER, *LIST_FEWER = _listing("folders", ROOT)
A_AT_FIRST, A_WIDER, A_AGAIN = (Read(f"{ROOT}/a/cpuset.cpus.effective") for _ in range(3))
A_NODES, PROCESSES_OF_B = Read(f"{ROOT}/a/cpuset.mems.effective"), Read(f"{ROOT}/b/cgroup.procs")
WRITTEN, RESTORED = Read(SWAPPINESS), Read(SWAPPINESS)
SHORT = Read(SCHEDULER)  # which was longer
FREE_WRITTEN, FREE_RESTORED = Read(f"{ROOT}/free/cpuset.cpus"), Read(f"{ROOT}/free/cpuset.cpus")
ADD_ABSENT, RUN_LOST = AddCgroup(ABSENT, on_error="record"), Run(LOST, on_error="record")
RUN_MISPLACED = Run(MISPLACED, on_error="record")
SPAWN_AGAIN = Spawn(MOVED, on_error="record")
OPS: tuple[Op, ...] = (
    AddCgroup(A), AddCgroup(B), AddCgroup(FREE), A_AT_FIRST, A_NODES, SetCpus(A, (0, 1)), A_WIDER,
    Spawn(PAIR), Release(), Move(SECOND, B), SetAffinity(FIRST, (1,)), *LIST_PLACED, PROCESSES_OF_B,
    StopWorkers(SECOND), *LIST_HALF, StopWorkers(),
    Scope((
        Write(SWAPPINESS, "1", restore=True), Write(SWAPPINESS, "10", restore=True), WRITTEN,
        Write(f"{ROOT}/free/cpuset.cpus", "1", restore=True), FREE_WRITTEN,
    )), RESTORED, FREE_RESTORED, Write(SCHEDULER, "short"), SHORT,
    Scope((
        AddCgroup(INNER), Spawn(SLEEPER), Release(Selector("step")), Run(FAMILY), Hold(5 * MS), *LIST_IN_SCOPE,
    ), step=True), *LIST_AFTER, *LIST_FOLDERS,
    ADD_ABSENT, RUN_LOST, RUN_MISPLACED,
    # Where its workers are now, nobody stops them: the work cannot be spawned again.
    Spawn(MOVED), Release(), Move(Selector(work=MOVED), B), StopWorkers(Selector(cgroup=A)), SPAWN_AGAIN, StopWorkers(),
    RemoveCgroups(Selector(cgroup=B)), *LIST_FEWER, RemoveCgroups(), AddCgroup(A), A_AGAIN,
)  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(
        1,
        30 * S,
        cgroups=(Cgroup("a", (0,), (0,)), Cgroup("b", (1,)), Cgroup("free"), Cgroup("deep/inner"), Cgroup("x", (500,))),
        works=(
            Work("SpinWait", A, (Worker(), Worker())),
            Work("Bursty", INNER, (Worker(),), (1000, 3600 * S)),
            Work("SpinWait", A, (Worker(),)),
        ),
        payloads=tuple(PAYLOADS),
        ops=OPS,
    )


@pytest.fixture(scope="module")
def record(guests: Guests, program: Program, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("placement"), program, topology=TWO)
    assert record.errors == ()
    return record


def processes(record: GuestRecord, number: int) -> list[str]:
    """What a payload listed, the deadline guard left out."""
    return [line for line in printed(record, number).splitlines() if not line.startswith("init ")]


def test_a_cgroup_has_its_cpus_and_nodes_and_later_others(record: GuestRecord, program: Program) -> None:
    reads = [read_by(record, program, read) for read in (A_AT_FIRST, A_NODES, A_WIDER)]
    assert reads == [["0\n"], ["0\n"], ["0-1\n"]]


def test_workers_and_payloads_are_where_the_ops_put_them(record: GuestRecord, program: Program) -> None:
    assert processes(record, PLACED) == [
        "worker/0 1 0::/ktstr/a", "worker/1 1 0::/ktstr/b", "payload 1 0::/ktstr/free",
    ]  # fmt: skip
    (second,) = (report for report in record.workers if report.index == 1)
    assert read_by(record, program, PROCESSES_OF_B) == [f"{second.tid}\n"]


def test_a_selector_stops_some_workers_of_a_work(record: GuestRecord) -> None:
    assert processes(record, HALF) == ["worker/0 1 0::/ktstr/a", "payload 0-1 0::/"]
    pair = [report for report in record.workers if report.work_index == PAIR]
    assert whole(pair) and pair[0].wall_time_ns > pair[1].wall_time_ns > 0


def test_what_was_written_is_undone_when_its_scope_ends(record: GuestRecord, program: Program) -> None:
    """The last write first; and a cpuset that was not set is not set again, which an empty line says."""
    assert read_by(record, program, WRITTEN) == ["10\n"]
    assert read_by(record, program, RESTORED) == ["60\n"]
    assert read_by(record, program, FREE_WRITTEN) == ["1\n"]
    assert read_by(record, program, FREE_RESTORED) == ["\n"]


def test_what_is_written_is_all_that_a_file_then_holds(record: GuestRecord, program: Program) -> None:
    assert read_by(record, program, SHORT) == ["short"]


def test_a_scope_leaves_nothing_of_what_it_made(record: GuestRecord) -> None:
    """Neither what left its process group, nor the cgroup that was only made for one in it."""
    there = sorted(processes(record, IN_SCOPE))
    assert there == ["payload 0-1 0::/", *["payload 0-1 0::/ktstr/deep/inner"] * 3, "worker/2 0-1 0::/ktstr/deep/inner"]
    assert processes(record, AFTER) == ["payload 0-1 0::/"]
    assert sorted(printed(record, FOLDERS).split()) == ["a", "b", "free"]
    assert events_of(record, FAMILY) == [("started", 0), ("killed", 0)]


def test_a_payload_runs_where_it_was_declared_or_not_at_all(record: GuestRecord, program: Program) -> None:
    assert "cannot write 500 to" in op_errors(record, program, ADD_ABSENT)[0]
    assert op_errors(record, program, RUN_LOST) == [f"payload {LOST}: its cgroup is not there"]
    assert op_errors(record, program, RUN_MISPLACED) == [
        f"payload {MISPLACED}: cannot start /bin/payload: Invalid argument"
    ]
    assert events_of(record, LOST) == [] and events_of(record, MISPLACED) == [("spawn_failed", 22)]


def test_a_work_is_not_spawned_over_workers_that_are_left(record: GuestRecord, program: Program) -> None:
    assert op_errors(record, program, SPAWN_AGAIN) == [f"work {MOVED}: not all its workers have ended"]
    (moved,) = (report for report in record.workers if report.work_index == MOVED)
    assert whole([moved]) and moved.spawn == 0


def test_cgroups_are_removed_one_or_all_and_can_be_made_again(record: GuestRecord, program: Program) -> None:
    assert sorted(printed(record, FEWER).split()) == ["a", "free", "x"]
    assert read_by(record, program, A_AGAIN) == ["0\n"]
