from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.model import WorkGroup
from ktstr.checks.thresholds import merge
from ktstr.config.model import CheckValue
from ktstr.results.record import GuestRecord, SchedEvent, WorkerReport
from tests.checks.reports import MS, S, end, record, worker

WORKS = (WorkGroup(0, "cg_0", "SpinWait", 2, (0, 1)),)
FAIR = (worker(0), worker(1))
ATTACHED = (SchedEvent(1, "started", 0, ""), SchedEvent(2, "attached", 0, ""), SchedEvent(3 * S, "detached", 0, ""))


def guest(workers: tuple[WorkerReport, ...] = FAIR, **changes: object) -> GuestRecord:
    base = GuestRecord(kernel_release="7.2.0", workers=workers, ended=True)
    return replace(base, **changes)  # type: ignore[arg-type]


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
    found = judged(GuestRecord(), "panic", "VFS: Unable to mount root fs")
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
    stuck = worker(1, max_gap_ns=3 * S, max_gap_off_cpu_ns=3 * S)
    found = judged(guest((worker(0), stuck)), max_imbalance_ratio=3.0)
    assert found.outcome == "fail" and [d.kind for d in found.details] == ["Stuck", "Monitor"]


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
