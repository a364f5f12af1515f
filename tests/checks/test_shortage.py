"""A guest that was too small or too slow is an error that says what helps, and nobody's failure."""

from __future__ import annotations

from dataclasses import replace as with_fields
from typing import Any

import pytest

from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.thresholds import merge
from ktstr.record.guest import SchedEvent
from tests.checks.reports import end, record
from tests.checks.test_judge import WORKS, guest

S = 1_000_000_000
STARTED = SchedEvent(0, "started", 0, "/sched/bin/scx_layered")
KILLED = SchedEvent(2 * S, "signaled", 9, "Killed")
OOM = (
    "[    2.012345] Out of memory: Killed process 81 (scx_layered) total-vm:402400kB, anon-rss:311000kB,"
    " file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:780kB oom_score_adj:0\n"
)
LATE = SchedEvent(300 * S, "attach_timeout", 0, "not attached after 300000 ms")


def judged(accel: str = "icount", reason: Any = "clean", detail: str = "", **seen: Any) -> Judgement:
    expected = Expected(WORKS, "scx_layered", accel)
    expected = with_fields(expected, attach_timeout_ns=300 * S, memory_mib=512)
    return judge(record(guest(workers=(), **seen), end(reason, detail)), merge({}, {}), expected)


def test_a_scheduler_that_was_killed_for_memory_is_no_failure_of_its_own() -> None:
    found = judged(sched_events=(STARTED, KILLED), sched_kmsg=OOM)
    assert found.outcome == "error"
    assert found.reasons == (
        "the guest was too small to load the scheduler with memory_mib=512: Out of memory: Killed process 81"
        " (scx_layered); memory_mib: 1024 in the test raises it",
    )


@pytest.mark.parametrize("words", ["System is deadlocked on memory", "Out of memory: system-wide panic_on_oom is on"])
def test_a_kernel_that_panics_for_want_of_memory_is_too_small(words: str) -> None:
    found = judged(reason="panic", detail=f"kernel panic: {words}")
    assert found.outcome == "error"
    assert found.reasons == (
        f"the guest was too small with memory_mib=512: kernel panic: {words}; memory_mib: 1024 in the test raises it",
    )
    assert judged(reason="panic", detail="kernel panic: something else").outcome == "fail"


def test_a_cgroup_that_reaches_its_own_limit_is_what_the_test_declared() -> None:
    own = "Memory cgroup out of memory: Killed process 90 (worker)"
    assert judged(sched_events=(STARTED, KILLED), sched_kmsg=own).outcome == "fail"


def test_a_signal_that_was_not_the_oom_killers_is_the_schedulers() -> None:
    assert judged(sched_events=(STARTED, KILLED)).outcome == "fail"


@pytest.mark.parametrize(("accel", "outcome"), [("icount", "error"), ("tcg", "error"), ("kvm", "fail")])
def test_attaching_late_is_the_machines_doing_where_it_is_emulated(accel: str, outcome: str) -> None:
    found = judged(accel, sched_events=(STARTED, LATE), sched_log="loading\n")
    assert found.outcome == outcome
    if outcome == "error":
        assert found.reasons == (
            "scx_layered did not attach within 300 s of emulated time; attach_timeout: 600s under"
            " schedulers.scx_layered in ktstr.yaml raises it; its last words: loading",
        )


def test_a_kernel_without_sched_ext_is_nobodys_failure() -> None:
    """As the agent says it."""
    said = "this kernel has no sched_ext: /sys/kernel/sched_ext/state is absent (CONFIG_SCHED_CLASS_EXT)"
    found = judged(errors=(said,))
    assert found.outcome == "error"
    assert found.reasons == (f"{said}; another kernel has it, or it can be built with that",)
