from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ktstr.checks.breach import Run
from ktstr.checks.machine import evidence
from ktstr.checks.model import WorkGroup, gather
from ktstr.checks.restraint import NONE, Quota, Restraints, Stretch
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Detail, Verdict
from ktstr.checks.workers import judge_workers
from ktstr.config.model import CheckValue
from ktstr.record.guest import WorkerReport
from tests.checks.reports import MS, S, worker

FAIL, INCONCLUSIVE = Verdict.FAIL, Verdict.INCONCLUSIVE


def judged(
    reports: list[WorkerReport],
    *,
    accel: str = "kvm",
    work_type: str = "SpinWait",
    cpus: tuple[int, ...] | None = None,
    workers: int | None = None,
    held: Restraints = NONE,
    params: tuple[int, ...] = (),
    **checks: CheckValue,
) -> list[Detail]:
    """The details for one group of workers in cgroup ``cg_0``."""
    work = WorkGroup(0, "cg_0", work_type, len(reports) if workers is None else workers, cpus, params)
    groups = gather([work], reports)
    return judge_workers(groups, Run(merge({}, checks), evidence(accel, reports), restraints=held, groups=groups))


# 25 ms in 100: one worker is off CPU for 75 ms, and for 40 more by what it ran beyond until a tick of 10 ms. Of two on
# one CPU a wait takes four times as long.
QUOTA = Restraints(1, (Quota("cg_0", 25_000, 100_000),))
FROZEN = Restraints(1, frozen={"cg_0": (Stretch(500 * MS, 1_500 * MS),)})
AGAIN = Restraints(1, frozen=FROZEN.frozen, again=frozenset({"cg_0"}))


def only(details: list[Detail]) -> Detail:
    assert len(details) == 1, details
    return details[0]


def test_fair_workers_give_no_detail() -> None:
    assert judged([worker(0), worker(1)], isolation=True, cpus=(0, 1)) == []


# starvation


def test_lives_that_a_loop_cuts_short_are_judged_together() -> None:
    brief = {"work_units": 0, "cpu_time_ns": 0, "schedstat_cpu_time_ns": 0, "wall_time_ns": 5 * MS}
    assert judged([worker(0, **brief), worker(0, wall_time_ns=5 * MS)], workers=1) == []
    found = only(judged([worker(0, **brief), worker(0, **brief)], workers=1))
    assert found.verdict is INCONCLUSIVE and "did no work, but it had 5.000 ms" in found.message


def test_a_worker_without_work_starved() -> None:
    lazy = worker(1, work_units=0, cpu_time_ns=2 * MS, schedstat_cpu_time_ns=1 * MS, wall_time_ns=400 * MS)
    found = only(judged([worker(0), worker(2), lazy], max_spread_pct=100))
    assert (found.verdict, found.kind, found.cgroup, found.worker) == (FAIL, "Starved", "cg_0", 1)
    assert (found.value, found.limit) == (0, 0)
    for word in ("cg_0", "worker 1", "tid 101", "0 work units", "limit"):
        assert word in found.message


def test_a_worker_that_was_stopped_before_its_work_was_due_did_not_starve() -> None:
    early = worker(1, work_units=0, iterations=0, cpu_time_ns=0, schedstat_cpu_time_ns=None, wall_time_ns=0)
    found = only(judged([worker(0), worker(2), early]))
    assert (found.verdict, found.kind, found.cgroup, found.worker) == (INCONCLUSIVE, "Starved", "cg_0", 1)
    assert "worker 1 (tid 101) was stopped before its work was due" in found.message


def test_a_worker_that_lived_shorter_than_one_scheduling_period_did_not_starve() -> None:
    """Three on a CPU that nobody counted have a slice of 20 ms each: 60 ms."""

    def lived(ms: int) -> Detail:
        lazy = worker(1, work_units=0, cpu_time_ns=0, schedstat_cpu_time_ns=0, wall_time_ns=ms * MS)
        return only(judged([worker(0), worker(2), lazy], max_spread_pct=100))

    assert lived(60).verdict is FAIL
    found = lived(59)
    assert (found.verdict, found.worker) == (INCONCLUSIVE, 1)
    assert "it had 59.000 ms, less than one scheduling period of 60 ms" in found.message


def test_a_worker_that_was_frozen_or_throttled_for_its_life_did_not_starve() -> None:
    """Of 1020 ms it was frozen for 1000, and one slice of 20 ms is left. Of 135 ms cpu.max may take 115."""

    def lived(ms: int, held: Restraints) -> list[Verdict]:
        lazy = worker(0, work_units=0, cpu_time_ns=0, schedstat_cpu_time_ns=0, wall_time_ns=ms * MS)
        return [detail.verdict for detail in judged([lazy], held=held)]

    assert (lived(1019, FROZEN), lived(1020, FROZEN)) == ([], [FAIL])
    assert (lived(134, QUOTA), lived(135, QUOTA)) == ([], [FAIL])
    assert lived(9000, AGAIN) == []


def test_nothing_is_said_of_a_short_life_of_a_worker_that_is_spawned_again() -> None:
    short = worker(0, spawn=1, work_units=0, cpu_time_ns=0, schedstat_cpu_time_ns=0, wall_time_ns=9 * MS)
    assert judged([worker(0, spawn=0), short], workers=1) == []
    assert judged([worker(0, spawn=0), replace(short, wall_time_ns=0)], workers=1) == []
    long = replace(short, wall_time_ns=20 * MS)
    assert [d.verdict for d in judged([worker(0, spawn=0), long], workers=1)] == [FAIL]
    assert [d.verdict for d in judged([short])] == [INCONCLUSIVE]


def test_a_worker_that_had_to_be_killed_before_it_began_did_starve() -> None:
    killed = worker(1, work_units=0, wall_time_ns=0, completed=False, exit_info="TimedOut")
    assert only(judged([worker(0), worker(2), killed])).verdict is FAIL


def test_charged_cpu_time_without_work_is_the_machines_doing() -> None:
    lazy = worker(1, work_units=0, schedstat_cpu_time_ns=10 * MS)
    assert only(judged([worker(0), lazy])).verdict is INCONCLUSIVE
    barely = worker(1, work_units=0, schedstat_cpu_time_ns=10 * MS - 1)
    assert only(judged([worker(0), barely])).verdict is FAIL


def test_without_schedstat_the_cpu_clock_says_what_was_charged() -> None:
    lazy = worker(1, work_units=0, schedstat_cpu_time_ns=None, cpu_time_ns=S)
    assert only(judged([worker(0), lazy])).verdict is INCONCLUSIVE


def test_a_worker_that_had_to_be_killed_fails_even_with_work() -> None:
    found = only(judged([worker(0), worker(1, completed=False, exit_info="TimedOut")]))
    assert (found.verdict, found.kind, found.worker) == (FAIL, "Starved", 1)
    assert "TimedOut" in found.message


def test_reports_that_never_came_fail_unless_a_vcpu_stalled_that_long() -> None:
    found = only(judged([worker(0)], workers=3))
    assert (found.verdict, found.value, found.limit) == (FAIL, 2, 0)
    assert "2 worker(s) never reported" in found.message
    stalled = worker(0, max_stall_ns=5 * S, max_stall_cpu=1)
    assert only(judged([stalled], workers=3)).verdict is INCONCLUSIVE


# spread


def test_eight_pinned_to_one_cpu_beside_one_alone_breach_a_tight_spread() -> None:
    pinned = [worker(i, cpu_time_ns=250 * MS, wall_time_ns=2 * S) for i in range(8)]  # 12.5 % each
    alone = worker(8, cpu_time_ns=1_990 * MS, wall_time_ns=2 * S, cpus_used=(1,))  # 99.5 %
    found = only(judged([*pinned, alone], max_spread_pct=10))
    assert (found.verdict, found.kind, found.cgroup, found.worker) == (FAIL, "Unfair", "cg_0", 0)
    assert found.value == pytest.approx(87.0) and found.limit == 10
    for word in ("cg_0", "worker 0 (tid 100", "87.50 %", "worker 8 (tid 108)", "0.50 %", "87.00 % > limit 10 %"):
        assert word in found.message


def test_spread_equal_to_the_limit_holds() -> None:
    half, less = worker(0, cpu_time_ns=S), worker(1, cpu_time_ns=700 * MS)  # 50 % and 65 % off CPU
    assert judged([half, less], max_spread_pct=15) == []
    assert only(judged([half, worker(1, cpu_time_ns=699 * MS)], max_spread_pct=15)).kind == "Unfair"


def test_a_spread_of_workers_that_slept_is_inconclusive() -> None:
    """Of pairs one may work for both: 73 % of 1 s apart, of which 50 ms were waits."""

    def pair(*waits_ms: int | None) -> Detail:
        reports = [
            worker(i, wall_time_ns=S, cpu_time_ns=cpu, schedstat_run_delay_ns=None if ms is None else ms * MS)
            for i, (cpu, ms) in enumerate(zip((920 * MS, 190 * MS), waits_ms, strict=True))
        ]
        return only(judged(reports, work_type="PipeIo", max_spread_pct=50))

    slept = pair(20, 30)
    assert slept.verdict is INCONCLUSIVE
    assert slept.message.endswith("they slept of their own accord: all of them together waited 50.000 ms for a CPU")
    assert pair(200, 30).verdict is pair(20, None).verdict is FAIL


def test_only_workers_that_lived_at_one_time_are_compared() -> None:
    """50 % and 95 % off CPU are 45 apart; a life of 1.8 s of 2 s is one time, one of 1.79 s is another."""

    def apart(**changes: int) -> list[Detail]:
        return judged([worker(0), worker(1, cpu_time_ns=wall // 20, wall_time_ns=wall, **changes)], **limits)

    limits: dict[str, Any] = {}
    wall = 1_800 * MS
    assert only(apart()).value == pytest.approx(45)
    assert apart(spawn=1) == []
    wall = 1_790 * MS
    assert apart() == []
    limits = {"max_spread_pct": 40}
    assert only(apart()).verdict is INCONCLUSIVE


def test_the_built_in_limit_is_for_lives_of_a_second_and_more() -> None:
    def apart(wall: int, **limits: Any) -> list[Detail]:
        return judged([worker(i, wall_time_ns=wall, cpu_time_ns=wall * (i + 1) // 2) for i in (0, 1)], **limits)

    assert only(apart(S)).value == pytest.approx(50)
    assert apart(S - 1) == []
    assert only(apart(S - 1, max_spread_pct=35)).verdict is FAIL


def test_beside_neighbours_of_unequal_weight_a_spread_is_judged_when_asked_for() -> None:
    pair, weighted = [worker(0, cpu_time_ns=200 * MS), worker(1, cpu_time_ns=1_800 * MS)], Restraints(2, weighted=True)
    assert judged(pair, held=weighted) == []
    assert only(judged(pair, held=weighted, max_spread_pct=35)).verdict is FAIL
    assert only(judged(pair)).verdict is FAIL


def test_one_worker_has_no_spread_and_one_measured_of_two_is_unknown() -> None:
    assert judged([worker(0)], max_spread_pct=0) == []
    found = only(judged([worker(0), worker(1, wall_time_ns=0)]))
    assert (found.verdict, found.kind, found.value) == (INCONCLUSIVE, "Unfair", None)


def test_spread_that_recorded_stalls_explain_is_inconclusive() -> None:
    # 20 % spread, limit 15: A was charged 120 ms (6 % of 2 s) for nothing, so 14 % are left.
    best = worker(0, cpu_time_ns=1_200 * MS, max_stall_ns=120 * MS, max_stall_cpu=3)
    worst = worker(1, cpu_time_ns=800 * MS)
    found = only(judged([best, worst], max_spread_pct=15))
    assert found.verdict is INCONCLUSIVE and "vCPU 3" in found.message
    shorter = worker(0, cpu_time_ns=1_200 * MS, max_stall_ns=90 * MS, max_stall_cpu=3)  # 15.5 % left
    assert only(judged([shorter, worst], max_spread_pct=15)).verdict is FAIL


# gap


def test_each_stuck_worker_is_named_with_cpu_time_value_and_limit() -> None:
    stuck = worker(
        1, max_gap_ns=3_500 * MS, max_gap_off_cpu_ns=3_400 * MS, max_gap_cpu=3, max_gap_at_ns=700 * MS, cpus_used=(3,)
    )
    found = only(judged([worker(0), stuck]))
    assert (found.verdict, found.kind, found.worker, found.value, found.limit) == (FAIL, "Stuck", 1, 3500.0, 3000)
    for word in ("cg_0", "worker 1 (tid 101", "CPU 3", "700.000 ms", "3500.000 ms > limit 3000 ms (default)"):
        assert word in found.message


def test_gap_equal_to_the_limit_holds() -> None:
    assert judged([worker(0, max_gap_ns=3000 * MS, max_gap_off_cpu_ns=3000 * MS)]) == []


def test_a_gap_in_which_the_worker_was_charged_is_the_machines() -> None:
    found = only(judged([worker(0, max_gap_ns=3_500 * MS, max_gap_off_cpu_ns=3_000 * MS)]))
    assert found.verdict is INCONCLUSIVE and "charged 500.000 ms" in found.message and "machine" in found.message


def test_a_gap_behind_a_stalled_vcpu_is_the_machines() -> None:
    waiting = worker(0, max_gap_ns=900 * MS, max_gap_off_cpu_ns=900 * MS, max_gap_cpu=2, cpus_used=(2,))
    stalled = worker(1, max_stall_ns=880 * MS, max_stall_cpu=2, cpus_used=(2,), max_gap_cpu=2)
    found = only(judged([waiting, stalled], max_gap_ms=20))
    assert found.verdict is INCONCLUSIVE and "vCPU 2 unrun for up to 880.000 ms" in found.message
    assert only(judged([waiting, worker(1, max_stall_ns=880 * MS, max_stall_cpu=1)], max_gap_ms=20)).verdict is FAIL
    assert only(judged([waiting, stalled], max_gap_ms=19)).verdict is FAIL


def test_a_workers_own_stall_does_not_excuse_the_time_it_was_not_charged() -> None:
    alone = worker(0, max_gap_ns=900 * MS, max_gap_off_cpu_ns=900 * MS, max_stall_ns=880 * MS, max_stall_cpu=0)
    assert only(judged([alone], max_gap_ms=20)).verdict is FAIL


def test_a_gap_may_be_longer_by_what_a_quota_takes() -> None:
    def stuck(ms: int) -> list[WorkerReport]:
        return [worker(0, max_gap_ns=ms * MS, max_gap_off_cpu_ns=ms * MS)]

    assert judged(stuck(3115), held=QUOTA) == []
    found = only(judged(stuck(3116), held=QUOTA))
    assert found.verdict is FAIL
    assert "gap 3116.000 ms > limit 3000 ms (default), lengthened to 3115.000 ms by cpu.max of cg_0" in found.message
    assert only(judged(stuck(3115))).verdict is FAIL
    # Two of them wait for each other too: 4 * 3000 + 115.
    assert judged([*stuck(12_115), worker(1)], held=QUOTA) == []
    assert only(judged([*stuck(12_116), worker(1)], held=QUOTA)).verdict is FAIL


def test_a_gap_may_be_longer_by_a_freeze() -> None:
    frozen = [worker(0, max_gap_ns=4000 * MS, max_gap_off_cpu_ns=4000 * MS)]
    assert judged(frozen, held=FROZEN) == []
    longer = [worker(0, max_gap_ns=4001 * MS, max_gap_off_cpu_ns=4001 * MS)]
    assert only(judged(longer, held=FROZEN)).verdict is FAIL
    found = only(judged(longer, held=AGAIN))
    assert found.verdict is INCONCLUSIVE and "frozen again and again" in found.message


def test_a_spread_that_a_quota_can_make_is_inconclusive() -> None:
    """75 % of the time of one of them may be taken: of 2 s, 90 % and 10 % off CPU are 80 points, 5 too many for 0."""

    def apart(most: int, limit: float) -> list[Detail]:
        pair = [worker(0, cpu_time_ns=2 * S - most * 20 * MS), worker(1, cpu_time_ns=1_800 * MS)]
        return judged(pair, held=QUOTA, max_spread_pct=limit)

    assert only(apart(90, 5)).verdict is INCONCLUSIVE
    assert only(apart(90, 4.9)).verdict is FAIL
    assert apart(90, 80) == []


def test_a_spread_within_an_isolated_partition_is_inconclusive() -> None:
    pair = [worker(0, cpu_time_ns=200 * MS), worker(1, cpu_time_ns=1_800 * MS)]
    found = only(judged(pair, held=Restraints(2, partitions=frozenset({"cg_0"}))))
    assert found.verdict is INCONCLUSIVE and "no load is balanced" in found.message
    assert only(judged(pair, held=Restraints(2, partitions=frozenset({"cg_1"})))).verdict is FAIL


# isolation


def test_a_cpuset_whose_cpus_were_offline_isolates_nobody() -> None:
    stray = [worker(0, cpus_used=(3,))]
    gone = Restraints(4, offline={0: (Stretch(0, S),), 1: (Stretch(S, 2 * S),)})
    assert only(judged(stray, cpus=(0, 1), isolation=True, held=gone)).verdict is INCONCLUSIVE
    assert only(judged(stray, cpus=(0, 2), isolation=True, held=gone)).verdict is FAIL


def test_a_worker_outside_its_cpuset_is_named_with_the_cpus() -> None:
    found = only(judged([worker(0, cpus_used=(0, 4, 5)), worker(1)], cpus=(0, 1, 2), isolation=True))
    assert (found.verdict, found.kind, found.worker, found.value, found.limit) == (FAIL, "Isolation", 0, 2, 0)
    assert "CPU 4-5" in found.message and "cpuset 0-2" in found.message and "cg_0" in found.message


def test_isolation_is_judged_only_when_on_and_with_a_cpuset() -> None:
    stray = [worker(0, cpus_used=(7,))]
    assert judged(stray, cpus=(0,)) == []
    assert judged(stray, cpus=None, isolation=True) == []


def test_a_worker_seen_nowhere_cannot_be_called_isolated() -> None:
    assert only(judged([worker(0, cpus_used=())], cpus=(0,), isolation=True)).verdict is INCONCLUSIVE


# throughput


def rates(*units: int) -> list[WorkerReport]:
    return [worker(i, work_units=u) for i, u in enumerate(units)]  # one CPU second each


def test_throughput_cv_by_hand() -> None:
    # 100 and 300 per CPU second: mean 200, stddev 100, CV 0.5
    assert judged(rates(100, 300), max_throughput_cv=0.5) == []
    found = only(judged(rates(100, 300), max_throughput_cv=0.49))
    assert (found.verdict, found.kind, found.worker) == (FAIL, "Benchmark", 0)
    assert found.value == pytest.approx(0.5) and "0.5000 > limit 0.49" in found.message


def test_throughput_cv_without_cpu_time_is_unknown() -> None:
    found = judged([worker(0), worker(1, cpu_time_ns=0)], max_throughput_cv=1.0, max_spread_pct=100)
    assert only(found).verdict is INCONCLUSIVE


def test_work_rate_floor_by_hand() -> None:
    assert judged(rates(500, 400), min_work_rate=400) == []
    found = only(judged(rates(500, 399), min_work_rate=400))
    assert (found.verdict, found.worker, found.value, found.limit) == (FAIL, 1, 399.0, 400)
    unknown = only(judged([worker(0, cpu_time_ns=0)], min_work_rate=1))
    assert unknown.verdict is INCONCLUSIVE and unknown.worker == 0


def test_an_emulators_speed_is_not_blamed_on_the_scheduler() -> None:
    assert only(judged(rates(500, 399), min_work_rate=400, accel="icount")).verdict is INCONCLUSIVE
    assert only(judged(rates(100, 300), max_throughput_cv=0.49, accel="tcg")).verdict is INCONCLUSIVE


def test_iteration_rate_by_hand() -> None:
    slow = worker(0, iterations=19, wall_time_ns=2 * S, cpu_time_ns=S)  # 9.5/s, 19 per CPU second
    found = only(judged([slow], min_iteration_rate=10))
    assert (found.verdict, found.value, found.limit) == (FAIL, 9.5, 10)
    assert judged([slow], min_iteration_rate=9.5) == []
    unknown = judged([worker(0, wall_time_ns=0)], min_iteration_rate=1)
    assert only(unknown).verdict is INCONCLUSIVE


def test_iterations_are_counted_by_the_time_that_a_worker_was_not_frozen() -> None:
    slow = worker(0, iterations=10, wall_time_ns=2 * S)  # 10/s in the second that is left
    assert judged([slow], min_iteration_rate=10, held=FROZEN) == []
    assert only(judged([slow], min_iteration_rate=10.1, held=FROZEN)).verdict is FAIL
    assert only(judged([slow], min_iteration_rate=10)).verdict is FAIL


def test_under_emulation_a_floor_above_a_whole_cpus_speed_is_inconclusive_and_a_lack_of_cpu_still_fails() -> None:
    slow = worker(0, iterations=19, wall_time_ns=2 * S, cpu_time_ns=S)
    assert only(judged([slow], min_iteration_rate=10, accel="icount")).verdict is FAIL
    assert only(judged([slow], min_iteration_rate=20, accel="icount")).verdict is INCONCLUSIVE


# wake latency


def wakers(*samples: int, **changes: object) -> list[WorkerReport]:
    return [worker(0, wake_latencies_ns=samples, wake_sample_total=len(samples), **changes)]


def test_p99_wake_latency_is_judged_over_the_group() -> None:
    calm = tuple(range(1, 100))
    assert judged(wakers(*calm, 5000), work_type="PipeIo", max_p99_wake_latency_ns=99) == []
    found = only(judged(wakers(*calm, 5000), work_type="PipeIo", max_p99_wake_latency_ns=98))
    assert (found.verdict, found.kind, found.value, found.limit, found.worker) == (FAIL, "Benchmark", 99, 98, 0)
    assert "99 ns > limit 98 ns" in found.message and "5000 ns" in found.message


def test_p99_behind_a_stalled_vcpu_is_inconclusive() -> None:
    reports = wakers(50 * MS, max_stall_ns=45 * MS, max_stall_cpu=0)
    assert only(judged(reports, work_type="PipeIo", max_p99_wake_latency_ns=5 * MS)).verdict is INCONCLUSIVE
    assert only(judged(reports, work_type="PipeIo", max_p99_wake_latency_ns=4 * MS)).verdict is FAIL


def test_wake_latencies_under_a_quota_may_be_longer_by_what_it_takes() -> None:
    limit: dict[str, Any] = {"max_p99_wake_latency_ns": 5 * MS}
    assert judged(wakers(120 * MS), work_type="PipeIo", held=QUOTA, **limit) == []
    found = only(judged(wakers(120 * MS + 1), work_type="PipeIo", held=QUOTA, **limit))
    assert found.verdict is FAIL and "lengthened to 120.000 ms by cpu.max of cg_0" in found.message
    uneven = only(judged(wakers(100, 300), work_type="PipeIo", held=QUOTA, max_wake_latency_cv=0.4))
    assert uneven.verdict is INCONCLUSIVE and "cpu.max of cg_0 makes some of them longer" in uneven.message


def test_wake_cv_by_hand() -> None:
    assert judged(wakers(100, 300), work_type="PipeIo", max_wake_latency_cv=0.5) == []
    assert only(judged(wakers(100, 300), work_type="PipeIo", max_wake_latency_cv=0.4)).value == pytest.approx(0.5)
    assert only(judged(wakers(100), work_type="PipeIo", max_wake_latency_cv=9)).verdict is INCONCLUSIVE


def test_wake_cv_from_one_stall_is_inconclusive() -> None:
    reports = wakers(1 * MS, 41 * MS, max_stall_ns=40 * MS, max_stall_cpu=0)
    assert only(judged(reports, work_type="PipeIo", max_wake_latency_cv=0.1)).verdict is INCONCLUSIVE


def test_wake_gates_without_samples_are_inconclusive() -> None:
    assert only(judged([worker(0)], work_type="PipeIo", max_p99_wake_latency_ns=1)).verdict is INCONCLUSIVE
    found = only(judged([worker(0)], work_type="SpinWait", max_p99_wake_latency_ns=1))
    assert found.verdict is INCONCLUSIVE and "max_p99_wake_latency_ns" in found.message


def test_a_role_that_never_waits_is_not_asked_how_late_it_was_woken() -> None:
    """Those who are preempted by the first of a PreemptStorm compute all the time."""
    storm: dict[str, Any] = {"work_type": "PreemptStorm", "params": (1,)}
    both = [worker(0, wake_latencies_ns=(5,), wake_sample_total=1, place=0), worker(1, place=1)]
    assert judged(both, max_p99_wake_latency_ns=5, **storm) == []
    assert only(judged(both, max_p99_wake_latency_ns=4, **storm)).verdict is FAIL
    unwoken = [worker(0, place=0), worker(1, place=1)]
    assert only(judged(unwoken, max_p99_wake_latency_ns=5, **storm)).verdict is INCONCLUSIVE


# requests


def servers(*samples: int) -> list[WorkerReport]:
    return [worker(0, request_latencies_ns=samples, request_sample_total=len(samples))]


def test_p99_request_latency_is_judged_over_the_group() -> None:
    calm = tuple(range(1, 100))
    assert judged(servers(*calm, 5000), work_type="Taobench", params=(1,), max_p99_request_latency_ns=99) == []
    found = only(judged(servers(*calm, 5000), work_type="Taobench", params=(1,), max_p99_request_latency_ns=98))
    assert (found.verdict, found.kind, found.value, found.limit, found.worker) == (FAIL, "Benchmark", 99, 98, 0)
    assert "99 ns > limit 98 ns" in found.message and "5000 ns" in found.message


def test_a_request_gate_that_nobody_can_answer_is_inconclusive() -> None:
    unserved = only(judged([worker(0)], work_type="Taobench", params=(1,), max_p99_request_latency_ns=1))
    assert unserved.verdict is INCONCLUSIVE and "no request was served" in unserved.message
    found = only(judged([worker(0)], work_type="SpinWait", max_p99_request_latency_ns=1))
    assert found.verdict is INCONCLUSIVE and "serves requests" in found.message


# migrations


def test_migration_ratio_by_hand() -> None:
    reports = [worker(0, migration_count=3, iterations=40), worker(1, migration_count=1, iterations=60)]
    assert judged(reports, max_migration_ratio=0.04) == []
    found = only(judged(reports, max_migration_ratio=0.039))
    assert (found.verdict, found.kind, found.worker) == (FAIL, "Migration", 0)
    assert found.value == pytest.approx(0.04) and "(4/100)" in found.message
    assert only(judged([worker(0, iterations=0)], max_migration_ratio=1)).verdict is INCONCLUSIVE


# switches


def test_not_starved_false_turns_starvation_spread_and_gap_off() -> None:
    bad = [worker(0, work_units=0, schedstat_cpu_time_ns=0, max_gap_ns=9 * S, max_gap_off_cpu_ns=9 * S), worker(1)]
    assert {d.kind for d in judged(bad)} == {"Starved", "Stuck"}
    assert judged(bad, not_starved=False) == []


def test_with_starvation_off_a_silent_group_is_still_no_pass() -> None:
    assert only(judged([], workers=2, not_starved=False)).verdict is INCONCLUSIVE
