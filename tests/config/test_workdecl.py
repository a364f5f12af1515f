from __future__ import annotations

import pytest

from ktstr.config.scenario import Deadline, Work
from tests.config.declarations import mistake, test_of


def work(written: str) -> Work:
    return test_of(f"cgroups: [{{name: a, {written}}}]").cgroups[0].works[0]


def test_policy_deadline_has_a_reservation() -> None:
    made = work("policy: deadline, runtime: 1ms, deadline: 5ms, period: 10ms")
    assert made == Work(policy="deadline", deadline=Deadline(1_000_000, 5_000_000, 10_000_000))


def test_policy_ext_has_a_nice_value() -> None:
    assert work("policy: ext, nice: 3") == Work(policy="ext", nice=3)


def test_names_and_threads() -> None:
    made = work("threads: true, comm: a worker, pcomm: 15, cgroup_namespace: true, swappable: true")
    assert made == Work(threads=True, comm="a worker", pcomm="15", cgroup_namespace=True, swappable=True)


def test_a_worker_may_be_a_payload() -> None:
    assert work("work: Custom, payload: bench, workers: 3, nice: 1") == Work("Custom", 3, nice=1, payload="bench")


def test_a_switch_of_a_work_type_is_true_or_false() -> None:
    made = [work(f"work: WakeChain, workers: 6, depth: 3{rest}") for rest in ("", ", pipes: true", ", pipes: false")]
    assert [dict(each.params) for each in made] == [
        {"depth": 3, "work_per_hop": 1024, "pipes": pipes} for pipes in (0, 1, 0)
    ]
    assert [type(dict(each.params)["pipes"]) for each in made] == [int] * 3


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("work: WakeChain, workers: 4, pipes: ^1", "pipes: found 1, expected true or false, nearest match 'true'"),
        ("work: WakeChain, workers: ^6", "workers: found 6, expected a multiple of 4 for WakeChain"),
        ("work: EpollStorm, producers: 2, consumers: 3, workers: ^6",
         "workers: found 6, expected a multiple of 5 for EpollStorm"),
        ("work: TimerLatency, interval: ^1us",
         "interval: found '1us', expected a duration from 10us to 3600s of TimerLatency"),
        ("policy: ^deadline, runtime: 1ms", "policy: found 'deadline', expected deadline and period beside it"),
        ("^runtime: 1ms", "runtime: found 'runtime', expected runtime only beside policy: deadline"),
        ("policy: fifo, ^period: 1ms", "period: found 'period', expected period only beside policy: deadline"),
        ("policy: deadline, runtime: ^6ms, deadline: 5ms, period: 10ms",
         "runtime: found '6ms', expected at most the deadline (5ms)"),
        ("policy: deadline, runtime: 1ms, deadline: ^5ms, period: 4ms",
         "deadline: found '5ms', expected at most the period (4ms)"),
        ("policy: deadline, runtime: ^1us, deadline: 5ms, period: 10ms",
         "runtime: found '1us', expected from 1024ns to 4194304us"),
        ("policy: deadline, ^nice: 1, runtime: 1ms, deadline: 5ms, period: 10ms",
         "nice: found 'nice', expected no nice value for policy deadline"),
        ("policy: ^dedline",
         "policy: found 'dedline', expected one of normal, batch, idle, fifo, rr, deadline, ext,"
         " nearest match 'deadline'"),
        ("^pcomm: x", "pcomm: found 'pcomm', expected pcomm only beside threads: true"),
        ("comm: ^sixteen-letters-",
         "comm: found 'sixteen-letters-', expected a name of 1 to 15 printable ASCII characters, without '/'"),
        ("comm: ^a/b", "comm: found 'a/b', expected a name of 1 to 15 printable ASCII characters, without '/'"),
        ("comm: ^''", "comm: found '', expected a name of 1 to 15 printable ASCII characters, without '/'"),
        ("threads: true, pcomm: ^ä", "pcomm: found 'ä', expected a name of 1 to 15 printable ASCII characters, without"
         " '/'"),
        ("work: ^Custom", "work: found 'Custom', expected a payload beside it, which each worker is"),
        ("work: Custom, payload: ^bensh",
         "payload: found 'bensh', expected one of the payloads (bench, other), nearest match 'bench'"),
        ("^payload: bench", "payload: found 'payload', expected payload only beside work: Custom"),
        ("work: Custom, payload: bench, ^threads: true",
         "threads: found 'threads', expected no threads for Custom, which is a program of its own"),
        ("work: Custom, payload: bench, ^mem_policy: local",
         "mem_policy: found 'mem_policy', expected no mem_policy for Custom, which is a program of its own"),
        ("work: Custom, payload: bench, policy: ^deadline, runtime: 1ms, deadline: 1ms, period: 1ms",
         "policy: found 'deadline', expected another policy for Custom"),
        ("work: Custom, payload: bench, ^burst: 1ms",
         "burst: found 'burst', expected a parameter of Custom (it has none)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_work(written: str, expected: str) -> None:
    found, place = mistake(f"cgroups: [{{name: a, {written}}}]")
    assert found == f"{place}tests.t.cgroups[0].{expected}"


def test_a_group_that_does_not_divide_what_the_test_gives_each_cgroup() -> None:
    found, place = mistake("workers_per_cgroup: 3\ncgroups: [^{name: a, work: PipeIo}]")
    assert found == f"{place}tests.t.cgroups[0].workers: found 3, expected a multiple of 2 for PipeIo"
