"""What each work type is for, by what the guest counted of it: against the numbers that its work has, the counts of
those it works with, or the kernel's own (getrusage(2), futex(2), stat(2), /proc/schedstat, /proc/loadavg).

Costs a guest of two cores with two threads each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest

from ktstr.checks.model import WorkGroup, gather
from ktstr.config.topology import Topology
from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.record.vocabulary import WORK_TYPES, SchedPolicy
from ktstr.record.work_table import WorkType
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Hold,
    Op,
    Program,
    Read,
    Release,
    Spawn,
    StopWorkers,
    Work,
    Worker,
    Write,
)
from tests.e2e.programs import MS, Guests, S, read_by, whole

pytestmark = pytest.mark.e2e

TWO_CORES = Topology(1, 1, 2, 2)
US = 1000
BLOCK, BLOCKS = 4096, 256  # of a temporary file


def work(name: WorkType, cpus: Sequence[int], *, workers: int = 0, **numbers: int) -> Work:
    """With a worker on each of these CPUs, or so many who have them all."""
    facts = WORK_TYPES[name]
    assert set(numbers) <= {param.key for param in facts.params}
    params = tuple(numbers.get(param.key, param.default) for param in facts.params)
    each = (Worker(),) * workers or tuple(Worker(affinity=(cpu,)) for cpu in cpus)
    return Work(name, 0, each, params, affinity=tuple(cpus))


def of(declared: Work, cgroup: int) -> Work:
    policy: SchedPolicy = "fifo" if declared in REALTIME else "normal"
    return Work(
        declared.type, cgroup, declared.workers, declared.params, policy, int(policy == "fifo"),
        affinity=declared.affinity, threads=declared in THREADS,
    )  # fmt: skip


ALL = (0, 1, 2, 3)
SIBLINGS = work("SmtSiblingSpin", ALL, workers=4)
ALU = work("AluHot", (0,), width=3)
IPC = work("IpcVariance", (1,), hot_iters=100, cold_iters=50, period_iters=2)
PRESSURE = work("CachePressure", (2,), size_kib=64, stride=128)
CACHE_YIELD = work("CacheYield", (3,), size_kib=16)
SPIN, YIELD, MIXED, FORK = work("SpinWait", (0,)), work("YieldHeavy", (1,)), work("Mixed", (2,)), work("ForkExit", (3,))
TIMER = work("TimerLatency", (0,), interval=2 * MS)
IDLE = work("IdleChurn", (1,), burst=100 * US, sleep=400 * US)
BURSTY = work("Bursty", (2,), burst=5 * MS, sleep=5 * MS)
SYNC_WRITE, RAND_READ, CONVOY = (work(name, (3,)) for name in ("IoSyncWrite", "IoRandRead", "IoConvoy"))
PING_PONG, PIPE_IO = work("FutexPingPong", (0, 1)), work("PipeIo", (2, 3))
CACHE_PIPE, UNLIKE = work("CachePipe", (0, 1), size_kib=16), work("AsymmetricWaker", (2, 3))
CHAIN, OTHER_WAY = work("WakeChain", (0, 1, 2, 3), depth=4), work("AsymmetricWaker", (2, 3), spin_iters=64)
PIPE_CHAIN = work("WakeChain", (0, 1, 2), depth=3, pipes=1)
FAN_OUT = work("FutexFanOut", ALL, fan_out=3)
COMPUTE = work("FanOutCompute", ALL, fan_out=3, cache_footprint_kib=6, operations=2, sleep=100 * US)
HERD = work("ThunderingHerd", ALL, waiters=3, batches=4, inter_batch=MS)
STORM = work("EpollStorm", ALL, producers=2, consumers=2, events_per_burst=4)
REALTIME, THREADS = (OTHER_WAY,), (PIPE_CHAIN, COMPUTE, STORM)


class Phase(NamedTuple):
    """Works that run at the same time, and for how long."""

    ms: int
    works: tuple[Work, ...]


PHASES = (
    Phase(40, (SIBLINGS,)),
    Phase(40, (ALU, IPC, PRESSURE, CACHE_YIELD)),
    Phase(40, (SPIN, YIELD, MIXED, FORK)),
    Phase(100, (TIMER, IDLE, BURSTY, SYNC_WRITE, RAND_READ, CONVOY)),
    Phase(30, (PING_PONG, PIPE_IO)),
    Phase(30, (CACHE_PIPE, UNLIKE)),
    Phase(30, (CHAIN,)),
    Phase(30, (PIPE_CHAIN,)),
    Phase(20, (OTHER_WAY,)),
    Phase(30, (FAN_OUT,)),
    Phase(40, (COMPUTE,)),
    Phase(40, (HERD,)),
    Phase(30, (STORM,)),
)
WORKS = tuple(each for phase in PHASES for each in phase.works)
SCHEDSTAT = tuple((Read("/proc/schedstat"), Read("/proc/schedstat")) for _ in PHASES)
LOADAVG = tuple((Read("/proc/loadavg"), Read("/proc/loadavg")) for _ in PHASES)


def _ops(number: int) -> Iterable[Op]:
    first = sum(len(phase.works) for phase in PHASES[:number])
    for at, _ in enumerate(PHASES[number].works, first):
        yield from (AddCgroup(at), Spawn(at))
    yield from (SCHEDSTAT[number][0], LOADAVG[number][0], Release(), Hold(PHASES[number].ms * MS), StopWorkers())
    yield from (SCHEDSTAT[number][1], LOADAVG[number][1])


PROGRAM = Program(
    1, 60 * S,
    tuple(Cgroup(f"c{at}") for at, _ in enumerate(WORKS)),
    tuple(of(each, at) for at, each in enumerate(WORKS)),
    (),
    (
        Write("/proc/sys/kernel/sched_schedstats", "1"),
        *(op for number, _ in enumerate(PHASES) for op in _ops(number)),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def record(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("works"), PROGRAM, topology=TWO_CORES)
    assert (record.errors, record.op_errors) == ((), None)
    assert whole(record.workers) and len(record.workers) == sum(len(each.workers) for each in WORKS)
    return record


def number_of(declared: Work) -> int:
    return next(at for at, each in enumerate(WORKS) if each is declared)


def reports(record: GuestRecord, declared: Work) -> list[WorkerReport]:
    """By their places."""
    own = sorted((w for w in record.workers if w.work_index == number_of(declared)), key=lambda w: w.index)
    assert all(worker.iterations for worker in own)
    return own


def one(record: GuestRecord, declared: Work) -> WorkerReport:
    (only,) = reports(record, declared)
    return only


def count(worker: WorkerReport, name: str) -> int:
    names = [each.name for each in WORK_TYPES[WORKS[worker.work_index].type].counts]
    assert worker.counted is not None
    return worker.counted[names.index(name)]


def counts(workers: Iterable[WorkerReport], name: str) -> list[int]:
    return [count(worker, name) for worker in workers]


def iterations(workers: Iterable[WorkerReport]) -> list[int]:
    return [worker.iterations for worker in workers]


def cpu_counts(record: GuestRecord, declared: Work, field: int) -> int:
    """By how much a field of its CPU's line of /proc/schedstat grew while it ran."""
    (cpu,) = declared.affinity or ()
    number = next(at for at, phase in enumerate(PHASES) if any(each is declared for each in phase.works))
    values = []
    for op in SCHEDSTAT[number]:
        (text,) = read_by(record, PROGRAM, op)
        (line,) = (line for line in text.splitlines() if line.startswith(f"cpu{cpu} "))
        values.append(int(line.split()[field]))
    return values[1] - values[0]


YIELDS, WENT_IDLE = 1, 4  # kernel/sched/stats.c: yld_count, and sched_goidle after a field that is always 0


def test_siblings_spin_on_both_threads_of_a_core(record: GuestRecord) -> None:
    workers = reports(record, SIBLINGS)
    ended_on = [w.migrations[-1].to_cpu if w.migrations else w.cpus_used[0] for w in workers]
    siblings = {cpu.cpu: cpu.smt_cpus for cpu in record.cpus}
    assert tuple(sorted(ended_on[:2])) == siblings[ended_on[0]] and tuple(sorted(ended_on[2:])) == siblings[ended_on[2]]
    assert sorted(ended_on) == [0, 1, 2, 3]
    for worker in workers:
        assert all(move.at_ns < 10 * MS for move in worker.migrations)
        assert worker.work_units == 8192 * worker.iterations
        assert worker.cpu_time_ns > 0.8 * worker.wall_time_ns and worker.wake_sample_total == 0


def test_spin_wait_computes_all_the_time(record: GuestRecord) -> None:
    worker = one(record, SPIN)
    assert worker.work_units == 8192 * worker.iterations
    assert worker.cpu_time_ns > 0.8 * worker.wall_time_ns and worker.wake_sample_total == 0


def test_each_yield_is_one_to_the_kernel(record: GuestRecord) -> None:
    often, mixed, cache = (one(record, each) for each in (YIELD, MIXED, CACHE_YIELD))
    assert cpu_counts(record, YIELD, YIELDS) == often.iterations == often.work_units
    assert cpu_counts(record, MIXED, YIELDS) == mixed.iterations
    assert mixed.work_units == 1024 * mixed.iterations
    assert cpu_counts(record, CACHE_YIELD, YIELDS) == cache.iterations
    assert cpu_counts(record, SPIN, YIELDS) == 0


def test_alu_hot_multiplies_in_as_many_chains_as_it_is_wide(record: GuestRecord) -> None:
    worker = one(record, ALU)
    assert count(worker, "multiplied") == 3 * worker.work_units and worker.work_units >= 2048 * worker.iterations > 0


def test_ipc_variance_multiplies_and_loads_in_turn(record: GuestRecord) -> None:
    """Twice an iteration 100 steps of four multiplications, and 50 loads; the stop may come between."""
    worker = one(record, IPC)
    multiplied, loaded = count(worker, "multiplied"), count(worker, "loaded")
    assert 0 <= multiplied - 2 * 400 * worker.iterations <= 2 * 400
    assert 0 <= loaded - 2 * 50 * worker.iterations <= 2 * 50
    assert worker.work_units == multiplied / 4 + loaded


def test_the_footprint_of_a_cache_type_is_what_its_numbers_say(record: GuestRecord) -> None:
    """Every other line of 64 KiB; every line of 16 KiB."""
    assert count(one(record, PRESSURE), "footprint") == 32 << 10
    assert 0 <= one(record, PRESSURE).work_units - 1024 * one(record, PRESSURE).iterations <= 1024
    assert count(one(record, CACHE_YIELD), "footprint") == 16 << 10
    assert counts(reports(record, CACHE_PIPE), "footprint") == [16 << 10] * 2


def test_each_child_of_fork_exit_is_a_process_to_the_kernel(record: GuestRecord) -> None:
    worker, number = one(record, FORK), next(at for at, phase in enumerate(PHASES) if FORK in phase.works)
    assert worker.iterations == count(worker, "children") <= worker.work_units <= worker.iterations + 1
    before, after = (int(read_by(record, PROGRAM, op)[0].split()[4]) for op in LOADAVG[number])
    assert 0 <= after - before - worker.work_units <= 3  # ids of processes; the kernel may begin threads


def test_timers_have_deadlines_that_lateness_does_not_move(record: GuestRecord) -> None:
    worker = one(record, TIMER)
    deadlines = worker.wall_time_ns // (2 * MS)
    over = (worker.open_wait_ns or 0) // (2 * MS)  # while it was woken late at its end, and counted none
    assert deadlines - 1 - over <= worker.iterations + count(worker, "missed") <= deadlines and deadlines >= 49
    assert count(worker, "missed") <= 5
    assert worker.iterations <= worker.wake_sample_total <= worker.iterations + 1


def test_bursts_and_sleeps_are_as_long_as_they_are_to_be(record: GuestRecord) -> None:
    for declared, burst_ns, sleep_ns in ((BURSTY, 5 * MS, 5 * MS), (IDLE, 100 * US, 400 * US)):
        worker = one(record, declared)
        late_ns = sum(worker.wake_latencies_ns)
        assert 0.7 * worker.wall_time_ns < worker.iterations * (burst_ns + sleep_ns) + late_ns
        assert worker.iterations * (burst_ns + sleep_ns) < worker.wall_time_ns
        for slept in (count(worker, "switches"), worker.wake_sample_total):
            assert 0.9 * worker.iterations <= slept <= worker.iterations + 1
        assert worker.cpu_time_ns > 0.9 * burst_ns * worker.iterations
    assert cpu_counts(record, IDLE, WENT_IDLE) >= count(one(record, IDLE), "switches")


def drawn_blocks(seed: int, draws: int) -> int:
    """How many different ones there are among so many: splitmix64, the upper bits of each number."""
    state, blocks = seed, set()
    for _ in range(draws):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        blocks.add((mixed ^ mixed >> 31) * BLOCKS >> 64)
    return len(blocks)


def test_what_is_written_is_in_the_file_and_synced(record: GuestRecord) -> None:
    """A round writes one block of each of 16 stripes; after 16 of them the file has all of its blocks."""
    worker = one(record, SYNC_WRITE)
    assert worker.iterations <= count(worker, "syncs") <= worker.iterations + 1
    assert 0 <= count(worker, "written") - 16 * BLOCK * count(worker, "syncs") <= 16 * BLOCK
    assert count(worker, "file_bytes") == BLOCKS * BLOCK and worker.iterations >= 16
    assert min(count(worker, "switches"), worker.wake_sample_total) >= 0.9 * worker.iterations


def test_random_reads_are_of_all_the_file(record: GuestRecord) -> None:
    worker = one(record, RAND_READ)
    assert worker.iterations <= worker.work_units <= worker.iterations + 1
    assert count(worker, "read") == BLOCK * worker.work_units
    assert count(worker, "blocks") == drawn_blocks(worker.index, worker.work_units) > 16
    assert min(count(worker, "switches"), worker.wake_sample_total) >= 0.9 * worker.iterations


def test_a_convoy_writes_in_order_and_reads_at_random(record: GuestRecord) -> None:
    worker = one(record, CONVOY)
    rounds, reads = count(worker, "written") // BLOCK, count(worker, "read") // BLOCK
    assert worker.iterations <= rounds <= worker.iterations + 1 and 4 * worker.iterations <= reads <= 4 * rounds
    assert worker.iterations // 16 <= count(worker, "syncs") <= rounds // 16 and rounds >= 16
    assert count(worker, "blocks") == drawn_blocks(worker.index, reads) > 16


def all_samples(workers: Iterable[WorkerReport]) -> bool:
    """Whether nearly each wait that a wake ended is a sample."""
    return all(0.9 * count(w, "slept") <= w.wake_sample_total <= count(w, "slept") + 1 for w in workers)


@pytest.mark.parametrize("declared", [PING_PONG, UNLIKE, OTHER_WAY], ids=lambda declared: str(declared.type))
def test_partners_wake_each_other_as_often_as_they_iterate(record: GuestRecord, declared: Work) -> None:
    one, other = workers = reports(record, declared)
    assert abs(one.iterations - other.iterations) <= 1
    for waker, sleeper in ((one, other), (other, one)):
        assert 0 <= count(waker, "woke") - count(sleeper, "slept") <= 1
        assert 0.9 * sleeper.iterations <= count(sleeper, "slept") <= sleeper.iterations + 1
    assert all_samples(workers)


def test_asymmetric_wakers_are_of_unlike_policies(record: GuestRecord) -> None:
    assert counts(reports(record, UNLIKE), "realtime") == [0, 1]
    assert counts(reports(record, OTHER_WAY), "realtime") == [1, 0]


@pytest.mark.parametrize("declared", [PIPE_IO, CACHE_PIPE], ids=lambda declared: str(declared.type))
def test_partners_read_a_byte_an_iteration(record: GuestRecord, declared: Work) -> None:
    one, other = workers = reports(record, declared)
    assert counts(workers, "bytes") == iterations(workers) and abs(one.iterations - other.iterations) <= 1
    assert all(worker.wake_sample_total > 0.3 * worker.iterations for worker in workers)


@pytest.mark.parametrize("declared", [CHAIN, PIPE_CHAIN], ids=["futexes", "pipes"])
def test_a_chain_hands_on_from_each_to_the_next(record: GuestRecord, declared: Work) -> None:
    workers = reports(record, declared)
    hops = counts(workers, "hops")
    assert hops == sorted(hops, reverse=True) and hops[0] - hops[-1] <= 1 and hops[0] > 10
    for worker in workers:
        assert worker.iterations <= count(worker, "hops") + 1
        assert 0.9 * worker.iterations - 1 <= count(worker, "switches") <= worker.iterations + 2
        assert worker.wake_sample_total >= 0.9 * worker.iterations - 1
    if declared is CHAIN:
        for waker, sleeper in zip(workers, (*workers[1:], workers[0]), strict=True):
            assert 0 <= count(waker, "woke") - count(sleeper, "slept") <= 1
        assert all_samples(workers)


@pytest.mark.parametrize("declared", [FAN_OUT, COMPUTE, HERD], ids=lambda declared: str(declared.type))
def test_a_call_wakes_all_who_are_called_and_none_misses_one(record: GuestRecord, declared: Work) -> None:
    caller, *called = reports(record, declared)
    calls = caller.work_units if declared is HERD else caller.iterations
    assert calls > 10 and all(calls - 1 <= worker.iterations <= calls + 1 for worker in called)
    assert 2.5 * calls <= count(caller, "woke") <= 3 * calls
    assert 0 <= count(caller, "woke") - sum(counts(called, "slept")) <= 3
    assert 0 <= sum(counts(called, "woke")) - count(caller, "slept") <= 1
    assert all_samples(called)


def test_those_who_compute_multiply_matrices_of_the_footprint(record: GuestRecord) -> None:
    """6 KiB are three matrices of 16 by 16 numbers of 8 bytes."""
    caller, *called = reports(record, COMPUTE)
    for worker in called:
        assert 0 <= count(worker, "operations") - 2 * worker.iterations <= 2
        assert count(worker, "operations") == worker.work_units and count(worker, "footprint") == 3 * 16 * 16 * 8
    assert caller.wall_time_ns > 100 * US * caller.iterations


def test_of_a_herd_one_gets_what_there_is(record: GuestRecord) -> None:
    caller, *called = reports(record, HERD)
    calls = caller.work_units
    assert calls - 1 <= sum(counts(called, "won")) <= calls and caller.iterations == calls // 4
    assert 0.7 * caller.wall_time_ns / MS <= calls <= caller.wall_time_ns / MS


def test_each_event_of_a_storm_is_taken_once(record: GuestRecord) -> None:
    workers = reports(record, STORM)
    producers, consumers = workers[:2], workers[2:]
    sent, taken, empty = (sum(counts(workers, name)) for name in ("sent", "taken", "empty"))
    assert 0 <= sent - taken <= 2 * 4 and taken > 100
    assert counts(producers, "taken") == counts(consumers, "sent") == [0, 0]
    assert all(0 <= count(w, "sent") - 4 * w.iterations <= 4 for w in producers)
    assert taken + empty >= sum(iterations(consumers)) and all(counts(consumers, "taken"))
    assert all(worker.wake_sample_total for worker in workers)


def test_those_who_do_the_same_are_judged_together(record: GuestRecord) -> None:
    groups = [
        WorkGroup(number, f"c{number}", declared.type, len(declared.workers), params=declared.params)
        for number, declared in enumerate(WORKS)
    ]
    places = {
        group.cgroup: [tuple(report.place for report in each.reports) for each in gather([group], record.workers)]
        for group in groups
    }
    assert [places[f"c{number_of(each)}"] for each in (FAN_OUT, STORM, UNLIKE, CHAIN, SIBLINGS)] == [
        [(0,), (1, 2, 3)], [(0, 1), (2, 3)], [(0,), (1,)], [(0, 1, 2, 3)], [(0, 1, 0, 1)],
    ]  # fmt: skip
