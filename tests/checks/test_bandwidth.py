from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ktstr.checks.bandwidth import judge_cgroups
from ktstr.checks.breach import Run
from ktstr.checks.cpu_stat import used
from ktstr.checks.machine import evidence
from ktstr.checks.model import CgroupSpan, WorkGroup, gather
from ktstr.checks.restraint import restraints
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import FileRead, Stimulus, WorkerReport
from tests.checks.reports import MS, S, cpu_stat, cpus, heard, kvm_run, read, told, worker

LIMITED = CgroupSpan("a", 1, 10, 11, cpus=2, quota=(25_000, 100_000), busy=1)
ONE = (WorkGroup(0, "a", "SpinWait", 1, step=1),)
LONG = worker(0, wall_time_ns=5 * S)


def judged(
    spans: list[CgroupSpan],
    reads: list[FileRead],
    works: tuple[WorkGroup, ...] = ONE,
    reports: tuple[WorkerReport, ...] = (LONG,),
    stimuli: tuple[Stimulus, ...] = (),
    waits: tuple[int, ...] = (),
    **checks: Any,
) -> list[Detail]:
    guest = heard(reads=tuple(reads), stimuli=stimuli, cpus=cpus(2), end_ns=20 * S)
    machine = evidence("kvm", reports, kvm_run(*waits))
    groups = gather(works, reports)
    run = Run(merge({}, checks), machine, restraints=restraints(guest, {}), groups=groups, phased=True)
    return judge_cgroups(used(spans, reads), run)


def spent(before_ms: float, after_ms: float, wall_ms: float = 4000) -> list[FileRead]:
    return [read(1000, 10, cpu_stat(before_ms)), read(1000 + wall_ms, 11, cpu_stat(after_ms))]


# cpu.max: 25 % of 4 s are 1000 ms; 5 % of them 50 ms. Its ends: a quota of 25 ms, a slice of 5, a tick of 10: 40 ms.


def test_a_cgroup_that_used_more_than_its_quota_fails_whatever_it_had_to_do() -> None:
    (found,) = judged([LIMITED], spent(100, 1191))
    assert (found.verdict, found.kind, found.cgroup, found.limit) == (Verdict.FAIL, "Bandwidth", "a", 5)
    assert found.value == pytest.approx(5.1)
    assert found.message == (
        "cgroup a in Step[0] (1000 to 5000 ms) used 1091.000 ms of CPU time, 1000.000 ms are its cpu.max of 25000 us in"
        " 100000 us: 5.10 % more, with 40.000 ms at its ends left out > limit 5 % (default)"
    )
    assert judged([LIMITED], spent(100, 1190)) == []
    idle = CgroupSpan("a", 1, 10, 11, cpus=2, quota=(25_000, 100_000), busy=0)
    assert [d.verdict for d in judged([idle], spent(100, 1191))] == [Verdict.FAIL]
    assert judged([idle], spent(100, 100)) == []


def test_a_busy_cgroup_that_got_less_than_its_quota_fails() -> None:
    (found,) = judged([LIMITED], spent(0, 909))
    assert found.value == pytest.approx(5.1) and "5.10 % less" in found.message
    assert judged([LIMITED], spent(0, 910)) == []


def test_the_test_sets_how_far_it_may_be_off() -> None:
    assert judged([LIMITED], spent(0, 1091), max_bandwidth_error_pct=5.2) == []
    (found,) = judged([LIMITED], spent(0, 1051), max_bandwidth_error_pct=1)
    assert found.message.endswith("1.10 % more, with 40.000 ms at its ends left out > limit 1 % (test)")


def test_less_is_no_failure_where_something_else_may_be_why() -> None:
    few = spent(0, 500)
    whole = CgroupSpan("a", 1, 10, 11, cpus=2, quota=(150_000, 100_000), busy=1)  # one worker cannot use 1.5 CPUs
    assert judged([whole], spent(0, 4000)) == []
    below = CgroupSpan("a", 1, 10, 11, cpus=2, quota=(25_000, 100_000), busy=1, limited_by="parent")
    assert judged([below], few) == []
    rival = (*ONE, WorkGroup(1, "b", "SpinWait", 1, step=1))
    assert judged([LIMITED], few, rival, (LONG, worker(1, work_index=1))) == []
    for disturbance in (
        told(2000, "Move"),
        told(2000, "WriteCgroup", "a cgroup.freeze=1"),
        told(2000, "WriteCgroup", "a/b cpu.max=1000 100000"),
        told(2000, "WriteCgroup", "a cpuset.cpus.partition=isolated"),
    ):
        assert judged([LIMITED], few, stimuli=(disturbance,)) == [], disturbance
    assert len(judged([LIMITED], few)) == 1


def test_a_rival_on_other_cpus_or_in_another_step_excuses_nothing() -> None:
    own = (WorkGroup(0, "a", "SpinWait", 1, (0,), step=1),)
    for other in (WorkGroup(1, "b", "SpinWait", 1, (1,), step=1), WorkGroup(1, "b", "SpinWait", 1, (0,), step=2)):
        assert len(judged([LIMITED], spent(0, 500), (*own, other), (LONG, worker(1, work_index=1)))) == 1


def test_the_time_before_a_worker_began_is_left_out() -> None:
    """It lived 3 of 4 s, so 250 ms of quota are lost: 1000 - 250 - 40 - 50 = 660 ms are enough."""
    late = (worker(0, wall_time_ns=3 * S),)
    assert judged([LIMITED], spent(0, 660), reports=late) == []
    assert len(judged([LIMITED], spent(0, 659), reports=late)) == 1


def test_what_a_burst_saved_may_be_used_as_well() -> None:
    burst = (told(1, "WriteCgroup", "a cpu.max.burst=20000"),)
    assert judged([LIMITED], spent(0, 1110), stimuli=burst) == []
    assert len(judged([LIMITED], spent(0, 1111), stimuli=burst)) == 1


def test_a_quota_above_the_cgroups_cpus_is_not_judged() -> None:
    roomy = CgroupSpan("a", 1, 10, 11, cpus=1, quota=(150_000, 100_000), busy=1)
    assert judged([roomy], spent(0, 3000)) == judged([roomy], spent(0, 4000)) == []


def test_a_vcpu_that_waited_for_the_host_excuses_as_much() -> None:
    """909 ms are 1 ms beyond 5 %."""
    assert [d.verdict for d in judged([LIMITED], spent(0, 909), waits=(1 * MS, 0))] == [Verdict.INCONCLUSIVE]
    assert [d.verdict for d in judged([LIMITED], spent(0, 908), waits=(1 * MS, 0))] == [Verdict.FAIL]


def test_who_asked_and_gets_no_answer_is_told() -> None:
    assert judged([], []) == []
    (found,) = judged([], [], max_bandwidth_error_pct=5)
    assert found.verdict is Verdict.INCONCLUSIVE and "no cgroup with cpu.max was read twice" in found.message
    once = judged([LIMITED], spent(0, 1000)[:1], max_bandwidth_error_pct=5)
    assert [d.verdict for d in once] == [Verdict.INCONCLUSIVE]


# throttling


def test_the_share_of_throttled_periods() -> None:
    def of(throttled: int, periods: int | None = 60) -> list[Detail]:
        begin, end = cpu_stat(0, 20, 4), cpu_stat(1000, periods, throttled)
        return judged([LIMITED], [read(1000, 10, begin), read(5000, 11, end)], max_throttled_pct=50)

    assert of(24) == []  # 20 of 40
    (found,) = of(25)
    assert (found.verdict, found.value) == (Verdict.FAIL, 52.5)
    assert found.message.endswith("throttled in 21 of 40 periods of its cpu.max, 52.50 % > limit 50 % (test)")
    for nothing in (of(4, 20), of(0, None)):
        assert [d.verdict for d in nothing] == [Verdict.INCONCLUSIVE] and "counted no period" in nothing[0].message
    assert [d.verdict for d in judged([], [], max_throttled_pct=50)] == [Verdict.INCONCLUSIVE]


# cpu.weight: 100 and 300 of 8 s of two CPUs are 2000 and 6000 ms. A slice of 20 ms on each: 40 ms; 10 points: 800 ms.

HEAVY = WorkGroup(1, "p/b", "SpinWait", 2, step=1)
PAIR = (WorkGroup(0, "p/a", "SpinWait", 2, step=1), HEAVY)
FOUR = tuple(worker(i, work_index=i // 2, wall_time_ns=5 * S) for i in range(4))


def siblings(weights: tuple[int, int] = (100, 300), busy: int = 2) -> list[CgroupSpan]:
    return [
        CgroupSpan("p/a", 1, 20, 21, cpus=2, weight=weights[0], busy=busy),
        CgroupSpan("p/b", 1, 22, 23, cpus=2, weight=weights[1], busy=busy),
    ]


def shares(a_ms: float, b_ms: float) -> list[FileRead]:
    return [
        read(1000, 20, cpu_stat(0)), read(1000, 22, cpu_stat(0)), read(5000, 21, cpu_stat(a_ms)),
        read(5000, 23, cpu_stat(b_ms)),
    ]  # fmt: skip


def weighed(a_ms: float, b_ms: float, works: tuple[WorkGroup, ...] = PAIR, **checks: Any) -> list[Detail]:
    return judged(siblings(), shares(a_ms, b_ms), works, FOUR, **checks)


def test_siblings_that_do_not_share_by_their_weights_fail() -> None:
    assert weighed(2840, 5160) == []
    first, second = weighed(2841, 5159)
    assert (first.verdict, first.cgroup, second.cgroup) == (Verdict.FAIL, "p/a", "p/b")
    assert first.value == pytest.approx(10.0125)
    assert first.message == (
        "cgroup p/a in Step[0] (1000 to 5000 ms) used 35.51 % of what it and 1 sibling(s) used, its cpu.weight of 100"
        " among 400 is 25.00 %: 10.01 points off, with 40.000 ms left out > limit 10 % (default)"
    )
    assert weighed(2841, 5159, max_weight_error_pct=11) == []


def test_equal_weights_are_judged_when_asked_for() -> None:
    def even(**checks: Any) -> list[Detail]:
        return judged(siblings((100, 100)), shares(7000, 1000), PAIR, FOUR, **checks)

    assert even() == []
    assert [d.verdict for d in even(max_weight_error_pct=10)] == [Verdict.FAIL] * 2


def test_shares_that_weights_do_not_decide_are_not_judged() -> None:
    skewed = shares(7000, 1000)
    lazy = judged(siblings(busy=1), skewed, PAIR, FOUR)
    realtime = judged(siblings(), skewed, (PAIR[0], replace(HEAVY, policy="fifo", priority=1)), FOUR)
    apart = judged(siblings(), skewed, (PAIR[0], replace(HEAVY, cpus=(0, 1))), FOUR)
    idle = judged(siblings(), skewed, PAIR, FOUR, (told(1, "WriteCgroup", "p/b cpu.idle=1"),))
    frozen = judged(siblings(), skewed, PAIR, FOUR, (told(1, "WriteCgroup", "p/b cgroup.freeze=1"),))
    assert lazy == realtime == apart == idle == frozen == []
    asked = judged(siblings(busy=1), skewed, PAIR, FOUR, max_weight_error_pct=10)
    assert [d.verdict for d in asked] == [Verdict.INCONCLUSIVE]


def test_siblings_at_other_times_are_not_compared() -> None:
    spans = siblings()
    later = [read(1000, 20, cpu_stat(0)), read(5000, 21, cpu_stat(7000)), read(4000, 22, cpu_stat(0))]
    assert judged(spans, [*later, read(8000, 23, cpu_stat(1000))], PAIR, FOUR) == []
