"""Each work type does what it is there for, by what the guest counted of it: types that churn, fault, lock, preempt,
starve, follow phases and serve requests.

Crews run one phase after the other in one guest of four vCPUs on two nodes (0 and 1, 2 and 3), each in a cgroup with
CPUs of its own, so that what it comes to can be worked out from its numbers. Costs that guest: 12 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ktstr.config.topology import Topology
from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.record.vocabulary import WORK_TYPES, WorkType
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Hold,
    Op,
    Program,
    Read,
    Release,
    RemoveCgroups,
    Scope,
    Selector,
    Spawn,
    StopWorkers,
    Work,
    Worker,
)
from tests.e2e.programs import MS, Guests, S, read_by, whole

pytestmark = pytest.mark.e2e

US = 1000
FOUR_ON_TWO_NODES = Topology(2, 2, 2, 1)
KIB, PAGE_KIB = 256, 4
SPIN, SLEEP, YIELD, IO, ALU_HOT = range(1, 6)


@dataclass(frozen=True)
class Crew:
    """Workers of a type on some CPUs: its numbers, by their keys, beside defaults."""

    type: WorkType
    cpus: tuple[int, ...]
    numbers: dict[str, int]
    crews: int = 1
    threads: bool = False

    @property
    def params(self) -> tuple[int, ...]:
        return tuple(self.numbers.get(param.key, param.default) for param in WORK_TYPES[self.type].params)

    @property
    def workers(self) -> int:
        return WORK_TYPES[self.type].group(self.params) * self.crews


PHASES = {
    "phase_1": SPIN, "for_1": 10 * MS, "phase_2": SLEEP, "for_2": 5 * MS, "phase_3": YIELD, "for_3": 3 * MS,
    "phase_4": IO, "for_4": 4 * MS, "phase_5": ALU_HOT, "for_5": 3 * MS,
}  # fmt: skip
CREWS: dict[str, Crew] = {
    "nice": Crew("NiceSweep", (0,), {}),
    "policy": Crew("PolicyChurn", (1,), {}),
    "affinity": Crew("AffinityChurn", (2, 3), {}),
    "cross": Crew("CrossAffinityChurn", (2, 3), {"crew": 3}, threads=True),
    "faults": Crew("PageFaultChurn", (0,), {"region_kib": 1024, "touches_per_cycle": 64}),
    "signals": Crew("SignalStorm", (0, 1), {}),
    "groups": Crew("CgroupChurn", (0,), {"groups": 3, "cycle": 5 * MS}),
    "killed": Crew("CgroupChurn", (0,), {"groups": 3, "cycle": 5 * MS}, threads=True),
    "attach": Crew("CgroupAttachStorm", (1,), {"children": 3}),
    "mutex": Crew("MutexContention", (2, 3), {}),
    "plain": Crew("PriorityInversion", (0,), {"pi": 0}),
    "lending": Crew("PriorityInversion", (1,), {"pi": 1}),
    "storm": Crew("PreemptStorm", (2,), {}),
    "starved": Crew("RtStarvation", (3,), {"burst": 20 * MS, "sleep": 20 * MS}),
    "queue": Crew("ProducerConsumerImbalance", (0, 1), {}),
    "sequence": Crew("Sequence", (2,), PHASES),
    "sweep": Crew("NumaWorkingSetSweep", (3,), {"region_kib": KIB, "passes": 1}),
    "hops": Crew("NumaMigrationChurn", (1, 2), {"region_kib": KIB}),
    "schbench": Crew("Schbench", (0, 1), {"worker_threads": 2, "cache_footprint_kib": 8, "operations": 2}),
    "rated": Crew("Schbench", (2,), {"worker_threads": 2, "cache_footprint_kib": 1, "operations": 1, "rps": 200}),
    "cache": Crew("Taobench", (3,), {"servers": 2, "hit_percent": 80}),
}
NAMES = [*CREWS]
TOGETHER: tuple[tuple[int, tuple[str, ...]], ...] = (
    (60 * MS, ("nice", "policy", "affinity")),
    (80 * MS, ("cross", "faults")),
    (40 * MS, ("signals",)),
    (200 * MS, ("groups", "attach", "mutex", "killed")),
    (200 * MS, ("plain", "lending", "storm", "starved")),
    (160 * MS, ("queue", "sequence", "sweep")),
    (100 * MS, ("hops",)),
    (200 * MS, ("schbench", "rated", "cache")),
)
LEFT = Read("/sys/fs/cgroup/ktstr/groups/cgroup.stat")


def _phase(hold_ns: int, names: tuple[str, ...]) -> Op:
    ids = [NAMES.index(name) for name in names]
    ops: list[Op] = [*map(AddCgroup, ids), *map(Spawn, ids), Release(), Hold(hold_ns)]
    if "killed" in names:
        ops += [RemoveCgroups(Selector(cgroup=NAMES.index("killed")))]
    return Scope((*ops, StopWorkers(), *([LEFT] if "groups" in names else [])))


def _work(number: int, crew: Crew) -> Work:
    return Work(crew.type, number, (Worker(),) * crew.workers, crew.params, threads=crew.threads)


PROGRAM = Program(
    7,
    60 * S,
    cgroups=tuple(Cgroup(name, crew.cpus) for name, crew in CREWS.items()),
    works=tuple(_work(number, crew) for number, crew in enumerate(CREWS.values())),
    ops=tuple(_phase(*one) for one in TOGETHER),
)


@pytest.fixture(scope="module")
def record(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    record = guests.run(tmp_path_factory.mktemp("works"), PROGRAM, topology=FOUR_ON_TWO_NODES)
    assert record.errors == ()
    return record


@pytest.fixture(scope="module")
def of(record: GuestRecord) -> Callable[[str], list[WorkerReport]]:
    """The reports of a crew, each of which ended by itself and stayed on its CPUs."""

    def found(name: str) -> list[WorkerReport]:
        reports = [report for report in record.workers if report.work_index == NAMES.index(name)]
        assert len(reports) == CREWS[name].workers and whole(reports)
        assert all(set(report.cpus_used) <= set(CREWS[name].cpus) for report in reports)
        return reports

    return found


Of = Callable[[str], list[WorkerReport]]


def counts(report: WorkerReport) -> dict[str, int]:
    """What it counted, by name."""
    name = next(crew.type for number, crew in enumerate(CREWS.values()) if number == report.work_index)
    assert report.counted is not None
    return {count.name: value for count, value in zip(WORK_TYPES[name].counts, report.counted, strict=False)}


def total(reports: list[WorkerReport], name: str) -> int:
    return sum(counts(report)[name] for report in reports)


def test_a_nice_sweep_has_every_nice_value(of: Of) -> None:
    (one,) = of("nice")
    assert one.iterations >= 40
    assert counts(one) == {"changes": one.iterations, "levels": 40}


def test_policy_churn_has_each_policy_in_turn(of: Of) -> None:
    (one,) = of("policy")
    found = counts(one)
    assert set(found) == {"normal", "batch", "idle", "fifo", "rr"}
    assert one.iterations - 1 <= sum(found.values()) <= one.iterations  # the last may have been stopped
    assert min(found.values()) >= 4 and max(found.values()) - min(found.values()) <= 1


def test_affinity_churn_goes_where_it_wants(of: Of) -> None:
    """To one of two CPUs, drawn: to the other one half of the time."""
    (one,) = of("affinity")
    found = counts(one)
    assert one.iterations - 1 <= found["changes"] <= one.iterations and found["changes"] >= 60
    assert found["arrivals"] == found["changes"]
    assert 0.35 < found["moves"] / found["changes"] < 0.65
    assert one.migration_count >= found["moves"] and one.cpus_used == (2, 3)


def test_cross_affinity_churn_is_pinned_by_others(of: Of) -> None:
    """Nobody changes its own affinity. A draw of two CPUs is another than the last half of the time."""
    crew = of("cross")
    changes, rewritten = total(crew, "changes"), total(crew, "rewritten")
    assert changes >= 60 and all(counts(report)["rewritten"] >= 3 for report in crew)
    assert rewritten <= changes


def test_page_fault_churn_faults_once_for_each_page_of_a_cycle(of: Of) -> None:
    """64 touches of 256 pages are of 256 * (1 - (1 - 1/256) ** 64) = 56.7 different ones, on average."""
    (one,) = of("faults")
    found = counts(one)
    assert one.iterations >= 6
    assert 0 <= 64 * one.iterations - found["touches"] < 64
    assert 53 < found["minor_faults"] / (found["touches"] / 64) < 60


def test_a_signal_storm_interrupts_its_partner(of: Of) -> None:
    """The kernel keeps one signal of a kind for a task: fewer may arrive than were sent."""
    one, other = map(counts, of("signals"))
    for sender, receiver in ((one, other), (other, one)):
        assert sender["sent"] >= 100
        assert 20 <= receiver["handled"] <= sender["sent"]


def test_cgroup_churn_is_in_all_its_cgroups_and_leaves_none(record: GuestRecord, of: Of) -> None:
    (one,) = of("groups")
    found = counts(one)
    assert found["visited"] == 3
    assert one.iterations - 1 <= found["moves"] <= one.iterations and found["moves"] >= 6
    assert [text.split()[1] for text in read_by(record, PROGRAM, LEFT)] == ["0"]  # nr_descendants


def test_the_cgroups_of_a_killed_worker_go_with_its_own(record: GuestRecord) -> None:
    """What could not be removed would be an error."""
    (one,) = (report for report in record.workers if report.work_index == NAMES.index("killed"))
    assert one.exit_info == "Signaled(9)" and one.iterations >= 3


def test_children_of_an_attach_storm_exit_in_the_sibling(of: Of) -> None:
    """The kernel takes moves of those that exit too, and does not move them."""
    (one,) = of("attach")
    found = counts(one)
    assert found["exits"] >= 3 and found["joined"] >= 1
    assert found["joined"] <= found["attached"] <= found["exits"] + 3
    assert found["sibling_ns"] > 0


def test_contenders_have_the_mutex_one_at_a_time(of: Of) -> None:
    crew = of("mutex")
    assert total(crew, "overlaps") == 0
    assert all(counts(report)["acquired"] >= 50 for report in crew)
    assert total(crew, "contended") >= 4
    assert sum(report.wake_sample_total for report in crew) > 0


def test_priority_is_inverted_by_a_plain_lock_and_not_by_one_that_lends_it(of: Of) -> None:
    """A round is a pause of 10 ms, and 10 ms of the middle one. High waits for that, or only for what low holds."""
    low, middle, high = map(counts, of("plain"))
    assert 6 <= high["locks"] <= 10 and high["inversions"] == high["locks"]
    assert high["lock_wait_ns"] >= high["locks"] * 10 * MS
    assert low["locks"] - 1 <= high["locks"] <= low["locks"] and middle["hog_rounds"] >= high["locks"]
    low, middle, high = map(counts, of("lending"))
    assert 6 <= high["locks"] <= 10 and high["inversions"] == 0
    assert high["lock_wait_ns"] < high["locks"] * 5 * MS
    assert middle["hog_rounds"] >= high["locks"] - 1


def test_a_preempt_storm_preempts_at_each_wakeup(of: Of) -> None:
    """Once a millisecond for 200 ms, less those that it was too late for, beside one victim on the same CPU."""
    leader, victim = map(counts, of("storm"))
    assert 120 <= leader["wakeups"] <= 201
    assert 0.9 * leader["wakeups"] <= victim["preempted"] <= 1.3 * leader["wakeups"]


def test_a_victim_of_rt_starvation_runs_between_bursts(of: Of) -> None:
    """Bursts of 20 ms, 20 ms apart, for 200 ms."""
    leader, victim = of("starved")
    assert 4 <= counts(leader)["bursts"] <= 5
    assert 18 * MS <= victim.max_gap_off_cpu_ns <= 24 * MS
    assert victim.schedstat_run_delay_ns is not None
    assert abs(victim.schedstat_run_delay_ns - counts(leader)["burst_ns"]) < 15 * MS
    assert 80 * MS < victim.cpu_time_ns < 120 * MS


def test_producers_that_are_faster_wait_for_the_consumer(of: Of) -> None:
    consumer, *producers = of("queue")
    left = total(producers, "items") - counts(consumer)["items"]
    assert 0 <= left <= 64
    assert counts(consumer)["items"] > 200
    assert all(counts(producer)["waits"] >= 10 for producer in producers)
    assert counts(consumer)["waits"] * 10 < counts(consumer)["items"]


def test_a_sequence_is_in_each_phase_as_long_as_declared(of: Of) -> None:
    """25 ms a round, alone on its CPU for 160 ms."""
    (one,) = of("sequence")
    found = counts(one)
    assert one.iterations in (5, 6, 7)
    for kind, ns in (("spin", 10), ("sleep", 5), ("yield", 3), ("io", 4), ("alu_hot", 3)):
        rounds = found[f"{kind}_ns"] / (ns * MS)
        assert one.iterations - 1 <= rounds < (one.iterations + 1) * 1.35, kind  # the last one may have been stopped
    assert found["written"] >= one.iterations * 65536 and found["written"] % 65536 == 0
    assert found["yields"] > 100 and found["chains"] > 100
    assert one.wake_sample_total > one.iterations
    slept = found["sleep_ns"]
    assert slept * 0.9 < one.wall_time_ns - one.cpu_time_ns < slept * 2


@pytest.mark.parametrize("name, times", [("sweep", "rotations"), ("hops", "hops")])
def test_memory_is_on_the_node_that_it_was_brought_to(of: Of, name: str, times: str) -> None:
    """256 KiB are 64 pages, each of which the kernel says to be there, but for the last time, which was stopped."""
    (one,) = of(name)
    found = counts(one)
    assert found[times] >= 4
    assert -1 <= found["pages"] / (KIB // PAGE_KIB) - found[times] <= 1
    if name == "hops":
        assert one.cpus_used == (1, 2) and one.migration_count >= found["hops"] - 1


def test_schbench_serves_what_its_message_thread_wakes_it_for(of: Of) -> None:
    leader, *workers = of("schbench")
    served, woken = total(workers, "requests"), counts(leader)["messages"]
    assert served >= 20 and served <= woken <= served + len(workers)
    for worker in workers:
        assert worker.request_sample_total == counts(worker)["requests"]
        assert min(worker.request_latencies_ns or (0,)) >= 100 * US  # what each sleeps
        assert worker.wake_sample_total > 0
    assert leader.request_sample_total is None


def test_schbench_at_a_rate_serves_that_many(of: Of) -> None:
    """200 a second for 200 ms."""
    leader, *workers = of("rated")
    assert 37 <= counts(leader)["messages"] <= 41
    assert 34 <= total(workers, "requests") <= counts(leader)["messages"]


def test_taobench_hits_as_often_as_its_keys_fit_in(of: Of) -> None:
    """Two servers of a request each millisecond, for 200 ms; of a hundred keys, 80 fit in."""
    servers = of("cache")
    hits, misses = total(servers, "hits"), total(servers, "misses")
    assert 330 <= hits + misses <= 470
    assert 0.72 < hits / (hits + misses) < 0.88
    latencies = sorted(ns for server in servers for ns in server.request_latencies_ns or ())
    assert len(latencies) == hits + misses
    assert sum(ns >= 200 * US for ns in latencies) >= misses  # the back end's answer
