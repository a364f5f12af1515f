from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.model import CgroupSpan, PhaseSpan, WorkGroup
from ktstr.checks.thresholds import merge
from ktstr.config.model import CheckValue
from ktstr.record.guest import SILENT, Checkpoint, GuestRecord, SchedEvent, WorkerReport
from tests.checks.reports import MS, S, cpu_stat, cpus, end, heard, kvm_run, progress, read, record, told, worker

WORKS = (WorkGroup(0, "cg_0", "SpinWait", 2, (0, 1)),)
FAIR = (worker(0), worker(1))
ATTACHED = (SchedEvent(1, "started", 0, ""), SchedEvent(2, "attached", 0, ""), SchedEvent(3 * S, "detached", 0, ""))


def guest(workers: tuple[WorkerReport, ...] = FAIR, **changes: object) -> GuestRecord:
    base = heard(kernel_release="7.2.0", workers=workers, ended=True)
    return replace(base, **changes)


def judged(
    seen: GuestRecord, reason: str = "clean", detail: str = "", scheduler: str | None = None, accel: str = "icount",
    **checks: CheckValue,
) -> Judgement:  # fmt: skip
    return judge(record(seen, end(reason, detail)), merge({}, checks), Expected(WORKS, scheduler, accel))


def test_a_fair_run_passes_with_statistics_and_no_reasons() -> None:
    found = judged(guest())
    assert (found.outcome, found.details) == ("pass", ())
    assert found.stats is not None and found.stats.total_workers == 2


def test_a_fair_run_under_a_scheduler_that_attached_and_detached_passes() -> None:
    assert judged(guest(sched_events=ATTACHED), scheduler="scx_ktstr").outcome == "pass"


def test_a_run_whose_declared_scheduler_never_attached_does_not_pass() -> None:
    found = judged(guest(), scheduler="scx_ktstr")
    assert found.outcome == "inconclusive" and "never seen to attach" in found.reasons[0]


@pytest.mark.parametrize(
    "reason", ["host_timeout", "channel_lost", "channel_garbage", "channel_flood", "killed", "emulator_failed"]
)
def test_what_the_machine_did_is_an_error_and_blames_nobody(reason: str) -> None:
    died = (SchedEvent(1, "started", 0, ""), SchedEvent(2, "exited", 1, ""))
    seen = guest(sched_events=died, workers=(worker(0, work_units=0, schedstat_cpu_time_ns=0),))
    found = judged(seen, reason, "after 60 s", scheduler="scx_ktstr")
    assert (found.outcome, found.stats) == ("error", None)
    assert [d.kind for d in found.details] == ["Machine"]
    assert "after 60 s" in found.reasons[0] and "scheduler" not in found.reasons[0]


def test_a_guest_that_powered_off_without_its_end_is_an_error() -> None:
    assert judged(guest(ended=False)).outcome == "error"


def test_a_panic_fails_and_quotes_its_line() -> None:
    found = judged(guest(workers=(), ended=False), "panic", "Kernel panic - not syncing: hung_task: blocked tasks")
    assert found.outcome == "fail"
    assert [d.kind for d in found.details] == ["Panic"]
    assert "Kernel panic - not syncing: hung_task: blocked tasks" in found.reasons[0]


def test_a_panic_before_the_agent_spoke_says_so() -> None:
    found = judged(SILENT, "panic", "VFS: Unable to mount root fs")
    assert found.outcome == "fail" and "before the agent said a word" in found.reasons[0]


def test_a_triple_fault_fails() -> None:
    assert judged(guest(workers=(), ended=False), "triple_fault").outcome == "fail"


def test_a_virtual_deadline_fails_where_time_is_the_guests_and_is_inconclusive_where_a_slow_host_makes_it() -> None:
    seen = guest(workers=(), ended=False, deadline_hit=True)
    assert judged(seen, "virtual_deadline").outcome == "fail"
    assert judged(seen, "virtual_deadline", accel="tcg").outcome == "inconclusive"


def test_a_failed_step_is_inconclusive_and_its_consequences_blame_nobody() -> None:
    stray = (worker(0, cpus_used=(7,)), worker(1))
    found = judged(guest(stray, errors=("cpuset.cpus of cg_0: Invalid argument",)), isolation=True)
    assert found.outcome == "inconclusive"
    assert found.details[0].kind == "Setup" and "Invalid argument" in found.reasons[0]
    assert found.details[1].kind == "Isolation" and "did not run as declared" in found.reasons[1]


def test_lost_workers_of_an_evicted_scheduler_are_its_consequence() -> None:
    events = (*ATTACHED[:2], SchedEvent(3, "evicted", 0, "runnable task stall"))
    found = judged(guest(workers=(worker(0),), sched_events=events), scheduler="scx_ktstr")
    assert found.outcome == "fail"
    assert [d.kind for d in found.details] == ["Evicted"]


def test_missing_reports_of_a_clean_run_fail() -> None:
    found = judged(guest(workers=(worker(0),)))
    assert found.outcome == "fail" and found.details[0].kind == "Starved"


def test_a_gate_that_was_asked_for_and_not_measured_is_inconclusive() -> None:
    found = judged(guest(), max_imbalance_ratio=3.0)
    assert found.outcome == "inconclusive" and "max_imbalance_ratio" in found.reasons[0]


def test_the_worst_reasons_come_first() -> None:
    stuck = worker(1, max_gap_ns=4 * S, max_gap_off_cpu_ns=4 * S)
    found = judged(guest((worker(0), stuck)), max_imbalance_ratio=3.0)
    assert found.outcome == "fail" and [d.kind for d in found.details] == ["Stuck", "Monitor"]


def on_kvm(
    seen: GuestRecord, *waits_ns: int, reason: str = "clean", work: str = "SpinWait", scheduler: str | None = None,
    **checks: CheckValue,
) -> Judgement:  # fmt: skip
    machine = replace(end(reason), kvm=kvm_run(*waits_ns))
    works = (dataclasses.replace(WORKS[0], work_type=work),)
    return judge(record(seen, machine), merge({}, checks), Expected(works, scheduler, "kvm"))


LATE = guest((worker(0), worker(1, max_gap_ns=4 * S, max_gap_off_cpu_ns=4 * S)))  # 1 s beyond the default limit


def test_on_kvm_a_gap_is_inconclusive_when_vcpus_waited_that_long_for_the_host_and_says_by_how_much() -> None:
    found = on_kvm(LATE, 20 * MS, 1 * S, 5 * MS, 0)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].endswith(
        "vCPU 1 waited 1000.000 ms for a host CPU in this run (4 vCPUs on 2 host CPUs), and 1000.000 ms explain it"
    )


@pytest.mark.parametrize("waits", [(), (0, 0), (999 * MS, 999 * MS)])
def test_on_kvm_a_gap_that_no_single_vcpus_wait_explains_fails(waits: tuple[int, ...]) -> None:
    found = on_kvm(LATE, *waits)
    assert found.outcome == "fail" and "host CPU" not in found.reasons[0]


def test_waits_never_spoil_a_run_that_holds_its_limits() -> None:
    assert on_kvm(guest(), 9 * S, 9 * S).outcome == "pass"


def test_waits_excuse_nothing_that_is_no_time() -> None:
    stray = guest((worker(0, cpus_used=(7,)), worker(1)))
    assert on_kvm(stray, 9 * S, isolation=True).outcome == "fail"
    busy = guest((worker(0, migration_count=900), worker(1)))
    assert on_kvm(busy, 9 * S, max_migration_ratio=0.1).outcome == "fail"
    assert on_kvm(guest((), ended=False), 9 * S, reason="panic").outcome == "fail"


def test_a_worker_that_did_nothing_is_excused_by_a_wait_as_long_as_its_life() -> None:
    idle = guest((worker(0, work_units=0, cpu_time_ns=0, schedstat_cpu_time_ns=0), worker(1)))
    checks: dict[str, Any] = {"max_spread_pct": 100.0}
    assert on_kvm(idle, 2 * S, **checks).outcome == "inconclusive"
    assert on_kvm(idle, 2 * S - 1, **checks).outcome == "fail"


def test_a_spread_is_excused_by_the_share_of_the_time_that_a_vcpu_waited() -> None:
    """95 % off CPU against 50: 45 points with a limit of 20, so 25 % of 2 s are needed."""
    unfair = guest((worker(0), worker(1, cpu_time_ns=100 * MS)))
    assert on_kvm(unfair, 500 * MS, max_spread_pct=20.0).outcome == "inconclusive"
    assert on_kvm(unfair, 499 * MS, max_spread_pct=20.0).outcome == "fail"


def test_a_slow_worker_is_excused_when_it_was_fast_enough_in_the_time_it_had() -> None:
    """1000 iterations in 2 s, the floor 800/s: they need 1.25 s, so 0.75 s of waiting explain it."""
    assert on_kvm(guest(), 750 * MS, min_iteration_rate=800.0).outcome == "inconclusive"
    assert on_kvm(guest(), 749 * MS, min_iteration_rate=800.0).outcome == "fail"


def wakes(*slow: int) -> GuestRecord:
    """Two workers with 100 samples together, ``slow`` ones and else 1 us."""
    samples = (*slow, *(1000,) * (100 - len(slow)))
    halves = samples[0::2], samples[1::2]
    return guest(tuple(worker(i, wake_latencies_ns=half, wake_sample_total=50) for i, half in enumerate(halves)))


def test_a_late_p99_is_excused_by_one_wait_but_not_a_scheduler_that_is_always_late() -> None:
    limit: dict[str, Any] = {"max_p99_wake_latency_ns": 10.0 * MS, "max_spread_pct": 100.0}
    # The largest of 100 may be anything; the second, 40 ms, is 30 ms above the limit: 15 ms for each of two workers.
    assert on_kvm(wakes(90 * MS, 40 * MS), 30 * MS, work="PipeIo", **limit).outcome == "inconclusive"
    assert on_kvm(wakes(90 * MS, 40 * MS), 29 * MS, work="PipeIo", **limit).outcome == "fail"
    # Twenty one of 40 ms: 20 x 30 ms to explain, 300 ms for each worker, however long any single one is.
    assert on_kvm(wakes(*(40 * MS,) * 21), 299 * MS, work="PipeIo", **limit).outcome == "fail"
    assert on_kvm(wakes(*(40 * MS,) * 21), 300 * MS, work="PipeIo", **limit).outcome == "inconclusive"


def test_an_uneven_latency_is_excused_when_it_is_even_without_the_wait() -> None:
    """One sample of 101 us among 99 of 1 us has a CV of 4.97; lowered by 2 workers x 2 ms all are 1 us: CV 0."""
    limit: dict[str, Any] = {"max_wake_latency_cv": 1.0, "max_spread_pct": 100.0}
    assert on_kvm(wakes(101_000), 2 * MS, work="PipeIo", **limit).outcome == "inconclusive"
    assert on_kvm(wakes(101_000), 0, work="PipeIo", **limit).outcome == "fail"
    # Lowered by 2 x 2 ms, one of 50 ms among them is 46 ms: still uneven.
    assert on_kvm(wakes(50 * MS), 2 * MS, work="PipeIo", **limit).outcome == "fail"


def test_timeouts_of_the_guest_are_excused_by_waits_as_long_as_the_shortest_of_them() -> None:
    stuck = guest(workers=(), ended=False, deadline_hit=True)
    assert on_kvm(stuck, 5 * S, reason="virtual_deadline").outcome == "inconclusive"
    assert on_kvm(stuck, 5 * S - 1, reason="virtual_deadline").outcome == "fail"
    slow = guest(sched_events=(ATTACHED[0], SchedEvent(30 * S, "attach_timeout", 0, "")))
    assert on_kvm(slow, 5 * S, scheduler="scx_ktstr").outcome == "inconclusive"
    assert on_kvm(slow, 5 * S - 1, scheduler="scx_ktstr").outcome == "fail"


def test_a_watchdogs_eviction_is_excused_by_a_wait_of_what_may_be_beyond_its_timeout() -> None:
    """It looks every half of its timeout, so of 4.5 s that it told of, 1.5 s may be too much."""
    event = SchedEvent(3 * S, "evicted", 0, "runnable task stall (worker[77] failed to run for 4.500s)")
    seen = guest(sched_events=(*ATTACHED[:2], event))
    assert on_kvm(seen, 1500 * MS, scheduler="scx_ktstr").outcome == "inconclusive"
    assert on_kvm(seen, 1499 * MS, scheduler="scx_ktstr").outcome == "fail"
    other = guest(sched_events=(*ATTACHED[:2], replace(event, text="apicall_unknown kfunc error")))
    assert on_kvm(other, 9 * S, scheduler="scx_ktstr").outcome == "fail"


REPORTS = st.builds(
    lambda i, units, cpu, wall, gap, off, stall, done: worker(
        i,
        work_units=units,
        cpu_time_ns=cpu,
        wall_time_ns=wall,
        max_gap_ns=gap,
        max_gap_off_cpu_ns=min(gap, off),
        max_stall_ns=stall,
        completed=done,
    ),
    st.integers(0, 3),
    st.integers(0, 5000),
    st.integers(0, 3 * S),
    st.integers(0, 3 * S),
    st.integers(0, 5 * S),
    st.integers(0, 5 * S),
    st.integers(0, 100 * MS),
    st.booleans(),
)


@given(st.lists(REPORTS, max_size=4), st.booleans())
def test_every_outcome_but_pass_has_a_reason_and_a_pass_has_none(reports: list[WorkerReport], strict: bool) -> None:
    checks: dict[str, CheckValue] = {"min_work_rate": 10.0, "max_migration_ratio": 0.1} if strict else {}
    found = judge(record(guest(tuple(reports))), merge({}, checks), Expected(WORKS, None, "icount"))
    assert (found.outcome == "pass") is (not found.details)
    if found.outcome == "pass":
        assert len(reports) >= 2 and all(r.work_units and r.completed for r in reports)


@given(st.lists(REPORTS, max_size=4), st.lists(st.integers(0, 4 * S), max_size=3))
def test_waits_only_ever_turn_fail_into_inconclusive(reports: list[WorkerReport], waits: list[int]) -> None:
    before, after = on_kvm(guest(tuple(reports))), on_kvm(guest(tuple(reports)), *waits)
    assert after.outcome == before.outcome or (before.outcome, after.outcome) == ("fail", "inconclusive")
    if max(waits, default=0) < MS:
        assert after == before


# steps


SPANS = (PhaseSpan(0, "BASELINE", 2, 3), PhaseSpan(1, "Step[0]", 4, 6))
STEPPED = (WorkGroup(0, "bg", "SpinWait", 1), WorkGroup(1, "a", "SpinWait", 1, step=1))
STIMULI = (
    told(0, "AddCgroup", "bg", index=0), told(100, "Hold", index=2), told(600, "Checkpoint", index=3),
    told(600, "Scope", index=4, total_iterations=250), told(1600, "Checkpoint", index=6, total_iterations=1750),
    told(1620, "StopWorkers", index=9),
)  # fmt: skip
TOLD = (
    Checkpoint(600 * MS, 0, 3, (progress(0, cpu_time_ns=250 * MS),)),
    Checkpoint(1600 * MS, 1, 6, (progress(0), progress(1))),
)
PAIR = (worker(0, wall_time_ns=1_520 * MS, cpu_time_ns=760 * MS), worker(1, work_index=1, wall_time_ns=S))


def stepped(guest_of: GuestRecord, spans: tuple[CgroupSpan, ...] = (), **checks: CheckValue) -> Judgement:
    expected = Expected(STEPPED, None, "icount", phases=SPANS, spans=spans, cleanup_budget_ns=100 * MS)
    return judge(record(guest_of), merge({}, checks), expected)


def in_steps(**changes: object) -> GuestRecord:
    base: dict[str, object] = {"stimuli": STIMULI, "checkpoints": TOLD, "cpus": cpus(2), "end_ns": 1_700 * MS}
    return guest(PAIR, **{**base, **changes})


def test_a_scenario_with_steps_passes_with_a_bucket_for_each_phase() -> None:
    found = stepped(in_steps())
    assert (found.outcome, found.details) == ("pass", ())
    assert found.stats is not None
    assert [(p.label, sorted(p.per_cgroup)) for p in found.stats.phases] == [
        ("BASELINE", ["bg"]),
        ("Step[0]", ["a", "bg"]),
    ]
    assert found.steps == {4: "StepStart[0]", 6: "StepEnd[0]"}


def test_a_worker_of_the_backdrop_that_starves_in_one_step_fails() -> None:
    idle = Checkpoint(1600 * MS, 1, 6, (progress(0, work_units=0, cpu_time_ns=0), progress(1)))
    found = stepped(in_steps(checkpoints=(TOLD[0], idle)))
    assert [(d.verdict.word, d.kind, d.cgroup) for d in found.details] == [("fail", "Starved", "bg")]
    assert "in Step[0] (600 to 1600 ms)" in found.reasons[0]


def test_a_step_that_took_too_long_to_clean_up_or_to_give_a_quota_fails() -> None:
    late = stepped(in_steps(end_ns=1_701 * MS))
    assert [(d.kind, d.value) for d in late.details] == [("Cleanup", 101)]
    reads = (read(700, 10, cpu_stat(0)), read(1500, 11, cpu_stat(500)))
    span = CgroupSpan("a", 1, 10, 11, cpus=2, quota=(25_000, 100_000), busy=1)
    greedy = stepped(in_steps(reads=reads), (span,))
    assert [(d.kind, d.cgroup) for d in greedy.details] == [("Bandwidth", "a")]


def test_a_release_is_judged_by_its_own_limits() -> None:
    apart = guest((worker(0), worker(1, cpu_time_ns=600 * MS)))  # 50 and 70 % off CPU
    expected = Expected(WORKS, None, "icount")
    assert judge(record(apart), merge({}, {}), expected).outcome == "pass"
    found = judge(record(apart), merge({}, {}, release=True), expected)
    assert found.outcome == "fail" and found.reasons[0].endswith("spread 20.00 % > limit 15 % (release)")
