"""What ops write to cgroups, and CPUs that come and go: what the guest's own files show of it, when, and after it.

Costs a guest of two vCPUs, 6 s.
"""

from __future__ import annotations

import pytest

from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    ClearCpus,
    Hold,
    Move,
    Op,
    Payload,
    Program,
    Read,
    ReadCgroup,
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
    WriteCgroup,
)
from tests.e2e.programs import MS, TWO, Guests, S, op_errors, payload, printed, read_by, whole

pytestmark = pytest.mark.e2e

ROOT = "/sys/fs/cgroup"
W = Worker()
NAMES = ("slow", "frozen", "1/2/3/4/5/6/7/8", "outer", "outer/inner", "part", "sibling", "limited")
SLOW, FROZEN, DEEP, OUTER, INNER, PART, SIBLING, LIMITED = range(len(NAMES))
WORKS = (
    Work("SpinWait", SLOW, (W,) * 4),
    Work("SpinWait", FROZEN, (W, W)),
    Work("SpinWait", DEEP, (W,)),
    Work("SpinWait", INNER, (W, W), threads=True),
    Work("SpinWait", PART, (W, W)),
    Work("SpinWait", FROZEN, (W,)),
    Work("Bursty", FROZEN, (W,), (1_000_000, 20_000_000)),
)
THROTTLED, STOPPED, IN_DEEP, IN_INNER, PLACED, THAWED, SLEEPER = range(len(WORKS))
SHARE, TINY = "10000 100000", "1000 1000000"
CPU1 = "/sys/devices/system/cpu/cpu1/online"
PAYLOADS: list[Payload] = []


def _listing(*words: str) -> tuple[int, Op, Op]:
    """A payload of its own that lists something: its number, and the ops that run it."""
    PAYLOADS.append(payload(*words))
    number = len(PAYLOADS) - 1
    return number, Run(number), Wait(number, 5 * S)


def _effective() -> ReadCgroup:
    return ReadCgroup(PART, "cpuset.cpus.effective")


AFTER_DEEP, *LIST_AFTER_DEEP = _listing("folders", f"{ROOT}/ktstr")
AFTER_OUTER, *LIST_AFTER_OUTER = _listing("folders", f"{ROOT}/ktstr")
ON_ONE, *LIST_ON_ONE = _listing("tasks")
LEFT, *LIST_LEFT = _listing("folders", ROOT)
SHARE_AT_FIRST, SHARE_LATER, STAT = (ReadCgroup(SLOW, f"cpu.{name}") for name in ("max", "max", "stat"))
EVENTS, STILL_FROZEN = (ReadCgroup(FROZEN, f"cgroup.{name}") for name in ("events", "freeze"))
MOVED_THERE, DEEP_THERE = (ReadCgroup(cgroup, "cgroup.procs") for cgroup in (SLOW, DEEP))
ONLINE, ONLINE_AGAIN = Read("/sys/devices/system/cpu/online"), Read("/sys/devices/system/cpu/online")
ALL_CPUS, OFFLINE_CPUS, WIDER, SET_OFFLINE, BACK, NARROW, CLEARED = (_effective() for _ in range(7))
PARTITION, STILL, OTHER = (
    ReadCgroup(PART, "cpuset.cpus.partition"),
    ReadCgroup(PART, "cpuset.cpus.partition"),
    _effective(),
)
BESIDE, BESIDE_OTHER = (ReadCgroup(SIBLING, "cpuset.cpus.effective") for _ in range(2))
NOT_GRANTED = SetCpus(SIBLING, (1,), on_error="record")
NOT_VALID = WriteCgroup(SIBLING, "cpuset.cpus.partition", "root", on_error="record")
NO_FILE = WriteCgroup(LIMITED, "cpu.maximum", "1", on_error="record")
CONTROLS = {
    "cpu.max": "150000 100000", "cpu.weight": "300", "cpu.uclamp.max": "80.00", "memory.low": "67108864",
    "memory.high": "134217728", "memory.max": "max", "pids.max": "20",
}  # fmt: skip
CONTROLLED = {name: ReadCgroup(LIMITED, name) for name in CONTROLS}
OPS: tuple[Op, ...] = (
    AddCgroup(SLOW), WriteCgroup(SLOW, "cpu.max", SHARE), SHARE_AT_FIRST, Spawn(THROTTLED), Release(), Hold(250 * MS),
    STAT, StopWorkers(), SHARE_LATER,
    AddCgroup(FROZEN), Spawn(STOPPED), Release(), Hold(5 * MS), WriteCgroup(FROZEN, "cgroup.freeze", "1"),
    EVENTS, Move(Selector(work=STOPPED, first_worker=1, workers=1), SLOW), MOVED_THERE, StopWorkers(),
    STILL_FROZEN,
    WriteCgroup(FROZEN, "cgroup.freeze", "0"), Spawn(THAWED), Spawn(SLEEPER), Release(), Hold(10 * MS),
    WriteCgroup(FROZEN, "cgroup.freeze", "1"), Hold(200 * MS), WriteCgroup(FROZEN, "cgroup.freeze", "0"),
    Hold(60 * MS), StopWorkers(),
    Scope((
        AddCgroup(DEEP), Spawn(IN_DEEP), Release(), Hold(5 * MS), WriteCgroup(DEEP, "cgroup.freeze", "1"),
        WriteCgroup(DEEP, "cpu.max", TINY), DEEP_THERE,
    )), *LIST_AFTER_DEEP,
    # What is removed is more than what was named; who is in there is killed.
    Scope((
        AddCgroup(OUTER), AddCgroup(INNER), Spawn(IN_INNER), Release(), WriteCgroup(OUTER, "cpu.max", TINY),
        Hold(10 * MS), WriteCgroup(OUTER, "cgroup.freeze", "1"), RemoveCgroups(Selector(cgroup=OUTER)),
    )), *LIST_AFTER_OUTER,
    AddCgroup(PART), SetCpus(PART, (0, 1)), ALL_CPUS, Spawn(PLACED), Release(),
    Scope((
        Write(CPU1, "0", restore=True), ONLINE, OFFLINE_CPUS, SetCpus(PART, (0, 1)), SET_OFFLINE,
        SetAffinity(Selector(work=PLACED), (0, 1)), *LIST_ON_ONE,
    )), ONLINE_AGAIN, BACK, SetAffinity(Selector(work=PLACED), (0, 1)), SetCpus(PART, (1,)), NARROW, ClearCpus(PART),
    CLEARED, StopWorkers(),
    SetCpus(PART, (1,)), WriteCgroup(PART, "cpuset.cpus.partition", "isolated"), PARTITION, AddCgroup(SIBLING), BESIDE,
    NOT_GRANTED, NOT_VALID, SetCpus(SIBLING, (0, 1), on_error="record"), SetCpus(PART, (0,)), STILL, OTHER,
    BESIDE_OTHER,
    WriteCgroup(PART, "cpuset.cpus.partition", "member"),
    AddCgroup(LIMITED), *(WriteCgroup(LIMITED, name, text) for name, text in CONTROLS.items()), *CONTROLLED.values(),
    NO_FILE, RemoveCgroups(), *LIST_LEFT,
)  # fmt: skip
CGROUPS = tuple(map(Cgroup, NAMES))
PROGRAM = Program(1, 30 * S, CGROUPS, WORKS, tuple(PAYLOADS), OPS, ("memory", "pids"))


@pytest.fixture(scope="module")
def record(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("cgroups"), PROGRAM, topology=TWO)
    assert record.errors == ()
    return record


def reads(record: GuestRecord, *of: Op) -> list[str]:
    """What each of these read, once each."""
    return [text.rstrip("\n") for read in of for text in read_by(record, PROGRAM, read)]


def reports(record: GuestRecord, work: int) -> list[WorkerReport]:
    return [report for report in record.workers if report.work_index == work]


def test_what_a_throttle_takes_is_off_cpu_and_not_a_stall(record: GuestRecord) -> None:
    """Four workers of a tenth of a CPU: most of the time is nobody's. A vCPU that was not run would be a stall."""
    found = reports(record, THROTTLED)
    stat = dict(line.split() for line in reads(record, STAT)[0].splitlines())
    assert int(stat["nr_throttled"]) >= 2 and int(stat["throttled_usec"]) >= 100_000
    assert max(report.max_gap_off_cpu_ns for report in found) > 50 * MS
    assert max(report.max_stall_ns for report in found) < 15 * MS
    assert sum(report.cpu_time_ns for report in found) < 60 * MS


def test_who_is_throttled_or_frozen_ends_at_once_and_the_cgroup_stays_so(record: GuestRecord) -> None:
    assert whole(reports(record, THROTTLED)) and whole(reports(record, STOPPED)) and whole(reports(record, IN_DEEP))
    assert reads(record, SHARE_AT_FIRST, SHARE_LATER) == [SHARE, SHARE]
    assert reads(record, EVENTS, STILL_FROZEN) == ["populated 1\nfrozen 1", "1"]


def test_time_that_the_program_froze_a_worker_for_is_nobodys_fault(record: GuestRecord) -> None:
    (spinner,), (sleeper,) = reports(record, THAWED), reports(record, SLEEPER)
    assert whole((spinner, sleeper)) and spinner.wall_time_ns > 250 * MS > 100 * MS > spinner.cpu_time_ns
    assert max(spinner.max_gap_ns, sleeper.max_gap_ns, *sleeper.wake_latencies_ns) < 60 * MS


def test_who_is_frozen_can_be_moved_to_where_it_runs(record: GuestRecord) -> None:
    assert reads(record, MOVED_THERE) == [str(reports(record, STOPPED)[1].tid)]


def test_cgroups_are_nested_eight_deep_and_nothing_is_left_of_them(record: GuestRecord) -> None:
    assert reads(record, DEEP_THERE) == [str(reports(record, IN_DEEP)[0].tid)]
    assert sorted(printed(record, AFTER_DEEP).split()) == ["frozen", "slow"]


def test_a_cgroup_is_removed_with_all_that_is_in_it(record: GuestRecord) -> None:
    assert [report.exit_info for report in reports(record, IN_INNER)] == ["Signaled(9)"] * 2
    assert sorted(printed(record, AFTER_OUTER).split()) == ["frozen", "slow"]
    assert "ktstr" not in printed(record, LEFT).split()


def test_cpus_go_offline_and_come_back(record: GuestRecord) -> None:
    assert reads(record, ONLINE, ONLINE_AGAIN) == ["0", "0-1"]
    assert reads(record, ALL_CPUS, OFFLINE_CPUS, SET_OFFLINE, BACK) == ["0-1", "0", "0", "0-1"]
    listed = [line for line in printed(record, ON_ONE).splitlines() if line.startswith("worker/")]
    assert len(listed) == 2 and all(line.split()[3] == "0" for line in listed)
    assert whole(reports(record, PLACED)) and {report.cpu for report in record.vcpus} == {0, 1}


def test_a_cleared_cpuset_is_its_parents(record: GuestRecord) -> None:
    assert reads(record, NARROW, CLEARED) == ["1", "0-1"]


def test_a_partition_has_its_cpus_alone(record: GuestRecord) -> None:
    assert reads(record, PARTITION, BESIDE) == ["isolated", "0"]
    assert reads(record, STILL, OTHER, BESIDE_OTHER) == ["isolated", "0", "1"]
    assert op_errors(record, PROGRAM, NOT_GRANTED) == [
        f"{ROOT}/ktstr/sibling/cpuset.cpus.effective is 0, asked for 1"
    ]  # fmt: skip
    assert "sibling" in op_errors(record, PROGRAM, NOT_VALID)[0]


def test_every_controller_takes_what_is_written(record: GuestRecord) -> None:
    assert dict(zip(CONTROLLED, reads(record, *CONTROLLED.values()), strict=True)) == CONTROLS
    assert op_errors(record, PROGRAM, NO_FILE) == [
        f"cannot write 1 to {ROOT}/ktstr/limited/cpu.maximum: No such file or directory"
    ]
