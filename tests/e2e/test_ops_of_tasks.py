"""What workers are to the kernel: processes or threads, their names, CPUs, policies and memory.

Costs a guest of two nodes, 4 s.
"""

from __future__ import annotations

import pytest

from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.scenarios.program import (
    OWN_CGROUP,
    AddCgroup,
    Cgroup,
    Checkpoint,
    Deadline,
    Hold,
    MemPolicy,
    Move,
    Op,
    Payload,
    Program,
    ReadCgroup,
    Release,
    Run,
    Scope,
    Selector,
    SetAffinity,
    Spawn,
    StopWorkers,
    Wait,
    Work,
    Worker,
)
from tests.e2e.programs import MS, TOPOLOGY_OF_TWO_NODES, Guests, S, op_errors, payload, printed, read_by, whole

pytestmark = pytest.mark.e2e

A, B = range(2)
W = Worker()
PLACED, FIRST, SECOND, PAIRS, FORKS, LATE, EXTENDED, LOCAL, BOUND, SPREAD, NOWHERE, PINNED, KILLED, NEITHER = range(14)
TASKS, TASKS_LATER, ALL_ALONE = range(3)
MOVE_ONE = Move(Selector(work=FIRST, first_worker=1, workers=1), B, on_error="record")
PROCESSES_OF_A, PROCESSES_OF_B = ReadCgroup(A, "cgroup.procs"), ReadCgroup(B, "cgroup.procs")
SPAWN_PINNED, SPAWN_NOWHERE = Spawn(PINNED, on_error="record"), Spawn(NOWHERE, on_error="record")
CHECKPOINT = Checkpoint(1)
OPS: tuple[Op, ...] = (
    AddCgroup(A), AddCgroup(B), Spawn(PLACED), Spawn(FIRST), Spawn(SECOND), Spawn(PAIRS), Spawn(FORKS),
    Run(TASKS), Wait(TASKS, 5 * S), Release(), SetAffinity(Selector(work=FIRST, first_worker=0, workers=1), (0,)),
    MOVE_ONE, PROCESSES_OF_A, Hold(30 * MS), CHECKPOINT, StopWorkers(Selector(work=FIRST)),
    Move(Selector(work=SECOND), B), PROCESSES_OF_B, Run(TASKS_LATER), Wait(TASKS_LATER, 5 * S), StopWorkers(),
    Spawn(LATE), Spawn(EXTENDED), Release(), Hold(20 * MS), Run(ALL_ALONE), Wait(ALL_ALONE, 5 * S), StopWorkers(),
    Spawn(LOCAL), Spawn(BOUND), Spawn(SPREAD), Release(), Hold(20 * MS), StopWorkers(),
    SPAWN_PINNED, StopWorkers(), SPAWN_NOWHERE, Hold(10 * MS, on_error="record"), StopWorkers(),
    Spawn(NEITHER, on_error="record"), Hold(10 * MS, on_error="record"), StopWorkers(),
    Scope((Spawn(KILLED), Release(Selector(work=KILLED)), Hold(5 * MS))), Spawn(FIRST), Release(), StopWorkers(),
)  # fmt: skip
WORKS = (
    Work("SpinWait", A, (Worker(affinity=(1,)), W), affinity=(0,), comm="two words", cgroup_namespace=True),
    Work("SpinWait", A, (W, W), threads=True, pcomm="crew"),
    Work("Bursty", A, (W,), (1000, 3600 * S), threads=True, pcomm="crew", comm="sleeper", policy="batch"),
    Work("PipeIo", A, (W, W, W, W), (1,), threads=True),
    Work("ForkExit", OWN_CGROUP, (W,), threads=True, cgroup_namespace=True, policy="fifo", priority=3),
    Work("SpinWait", OWN_CGROUP, (W,), policy="deadline", deadline=Deadline(2 * MS, 8 * MS, 10 * MS)),
    Work("SpinWait", OWN_CGROUP, (W,), policy="ext", nice=3),
    Work("SpinWait", OWN_CGROUP, (W,), mem_policy=MemPolicy("local"), pages=True),
    Work("SpinWait", OWN_CGROUP, (W,), affinity=(0,), mem_policy=MemPolicy("bind", (1,)), pages=True),
    Work("SpinWait", OWN_CGROUP, (W, W), threads=True, mem_policy=MemPolicy("interleave", (0, 1)), pages=True),
    Work("SpinWait", OWN_CGROUP, (W,), mem_policy=MemPolicy("bind", (63,))),
    Work("SpinWait", OWN_CGROUP, (W,), affinity=(0,), policy="deadline", deadline=Deadline(2 * MS, 8 * MS, 10 * MS)),
    Work("SpinWait", B, (W, W), threads=True),
    Work("SpinWait", B, (W,), threads=True, mem_policy=MemPolicy("bind", (63,))),
)
PAYLOADS: tuple[Payload, ...] = (payload("tasks"),) * 3
PROGRAM = Program(1, 30 * S, (Cgroup("a"), Cgroup("b")), WORKS, PAYLOADS, OPS)


@pytest.fixture(scope="module")
def record(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("tasks"), PROGRAM, topology=TOPOLOGY_OF_TWO_NODES)
    assert record.errors == ()
    return record


def tasks(record: GuestRecord, number: int) -> list[str]:
    """What a payload listed, itself and the deadline guard left out: process > task, CPUs, policy, namespace."""
    lines = printed(record, number).splitlines()
    return sorted(line for line in lines if not line.startswith(("init ", "payload ")))


def reports(record: GuestRecord, work: int) -> list[WorkerReport]:
    return [report for report in record.workers if report.work_index == work]


def test_workers_are_what_their_work_says(record: GuestRecord) -> None:
    """A process leads its threads, and is no worker. Works of one name that are spawned together share it."""
    assert tasks(record, TASKS) == sorted([
        "two words > two words 1 normal apart", "two words > two words 0 normal apart",
        "crew > crew 0-1 normal", "crew > worker/2 0-1 normal", "crew > worker/3 0-1 normal",
        "crew > sleeper 0-1 batch",
        "workers > workers 0-1 normal", *(f"workers > worker/{n} 0-1 normal" for n in range(5, 9)),
        "workers > workers 0-1 normal", "workers > worker/9 0-1 fifo apart",
    ])  # fmt: skip


def test_a_thread_ends_and_its_process_goes_on(record: GuestRecord) -> None:
    there = tasks(record, TASKS_LATER)
    assert "crew > sleeper 0-1 batch" in there and "crew > worker/2 0-1 normal" not in there
    assert "workers > worker/8 0-1 normal" in there
    again = reports(record, FIRST)
    assert [report.spawn for report in again] == [0, 1, 0, 1] and whole(again)
    assert len({report.tid for report in again}) == 4


def test_threads_work_and_are_measured_each_for_itself(record: GuestRecord) -> None:
    for work in (FIRST, SECOND, PAIRS, FORKS):
        assert whole(reports(record, work))
    first, second, pairs, (forks,) = (reports(record, work) for work in (FIRST, SECOND, PAIRS, FORKS))
    assert first[0].work_units and first[2].work_units and second[0].work_units
    assert all(report.iterations and report.wake_sample_total for report in (*pairs, forks))
    for report in (*first, *second, *pairs, forks):
        assert 0 < report.cpu_time_ns <= report.wall_time_ns + MS
        assert report.schedstat_cpu_time_ns and report.schedstat_cpu_time_ns < report.wall_time_ns + MS
    (checkpoint,) = record.checkpoints or ()
    assert sum(progress.cpu_time_ns > 0 for progress in checkpoint.workers) == 10


def test_a_thread_has_cpus_of_its_own_and_its_process_one_cgroup(record: GuestRecord) -> None:
    assert reports(record, FIRST)[0].cpus_used[-1:] and op_errors(record, PROGRAM, MOVE_ONE) == [
        "worker 3: is a thread of a process of 3 workers, of which 1 are to be moved: a cgroup holds whole processes"
    ]
    there, (moved,) = read_by(record, PROGRAM, PROCESSES_OF_A)[0].split(), read_by(record, PROGRAM, PROCESSES_OF_B)
    placed = {str(report.tid) for report in reports(record, PLACED)}
    assert placed < set(there) and moved.strip() in set(there) - placed


def test_policies_are_the_kernels(record: GuestRecord) -> None:
    assert tasks(record, ALL_ALONE) == ["worker/10 > worker/10 0-1 deadline", "worker/11 > worker/11 0-1 ext"]
    (late,), (extended,) = reports(record, LATE), reports(record, EXTENDED)
    assert whole((late, extended)) and late.work_units and extended.work_units
    assert 0.1 * late.wall_time_ns < late.cpu_time_ns < 0.35 * late.wall_time_ns  # of every 10 ms it gets two


def test_a_policy_that_is_refused_names_the_worker_and_why(record: GuestRecord) -> None:
    (error,) = op_errors(record, PROGRAM, SPAWN_PINNED)
    assert error == (
        "worker 16: cannot set affinity: Device or resource busy"
        " (one of policy deadline has to run on all CPUs of its root domain)"
    )


def test_memory_is_where_its_policy_says(record: GuestRecord) -> None:
    """But for the few pages that the agent prepared, of it and its neighbours, before it lived."""
    (bound,), spread, (local,) = reports(record, BOUND), reports(record, SPREAD), reports(record, LOCAL)
    assert bound.numa_pages and len(bound.numa_pages) == 2
    assert 4 * bound.numa_pages[0] < bound.numa_pages[1] and bound.numa_pages[1] > 10
    assert all(pages and min(pages) > 10 for pages in (report.numa_pages for report in spread))
    assert local.numa_pages and sum(local.numa_pages) > 10
    assert {report.numa_pages_migrated for report in (bound, local, *spread)} == {0}
    assert reports(record, FIRST)[0].numa_pages is None


def test_a_memory_policy_that_is_refused_is_told_of_the_worker(record: GuestRecord) -> None:
    errors = [error.text for error in record.op_errors or ()]
    assert "worker 17: cannot set its memory policy: Invalid argument" in errors
    assert "worker 18: cannot set its memory policy: Invalid argument" in errors
    for work in (NOWHERE, NEITHER):
        (nowhere,) = reports(record, work)
        assert nowhere.exit_info == "Exited(1)" and nowhere.numa_pages is None
