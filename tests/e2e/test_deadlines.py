"""An agent that keeps its deadline by itself, whatever it waits for then. Its guard would end it 6 s later, mute.

Costs a guest of one vCPU and one of two, 6 s.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.record.guest import GuestRecord
from ktstr.scenarios.program import (
    OWN_CGROUP,
    Hold,
    Payload,
    Program,
    Release,
    Run,
    Scope,
    Spawn,
    StartScheduler,
    Wait,
    Work,
    Worker,
)
from tests.e2e.programs import SCHEDULER, TWO, Guests, S, events_of, payload, printed, whole

pytestmark = pytest.mark.e2e

HOUR = 3600 * S


def ended_at(record: GuestRecord) -> float:
    """In seconds since the first op; the deadline counts from the agent's start, a moment earlier."""
    assert record.deadline_hit and record.errors == () and record.end_ns is not None
    return record.end_ns / S


def test_wait_ends_at_the_deadline(guests: Guests, tmp_path: Path) -> None:
    """And what a payload has said until then is told."""
    ops = (Spawn(0), Release(), Run(0), Wait(0, HOUR), Hold(HOUR))
    works = (Work("SpinWait", OWN_CGROUP, (Worker(),)),)
    program = Program(
        1, 2 * S, works=works, payloads=(payload("talk-beside", "3", "/bin/payload", "sleep", "600000"),), ops=ops
    )
    record = guests.run(tmp_path, program, reason="virtual_deadline")
    assert 1.5 < ended_at(record) < 2.1
    assert (events_of(record, 0), printed(record, 0)) == ([("started", 0)], "line 1\nline 2\nline 3\n")
    (report,) = record.workers
    assert whole([report]) and report.wall_time_ns > 1.5 * S


def test_under_a_scheduler_that_stalls_starting_a_payload_and_stopping_workers_end_at_the_deadline(
    guests: Guests, tmp_path: Path
) -> None:
    """Who leaves a CPU comes to none again: at least two of four spinners, and a payload before its first step."""
    stalls = Payload((SCHEDULER, "--stall-after", "1", "--timeout-ms", "30000"))
    ops = (
        StartScheduler(0, 5 * S), Scope((Spawn(0), Release(), Hold(3 * S // 2), Run(1), Hold(HOUR)), timeout_ns=5 * S),
    )  # fmt: skip
    works = (Work("SpinWait", OWN_CGROUP, tuple(Worker() for _ in range(4))),)
    program = Program(1, 6 * S, works=works, payloads=(stalls, payload("say", "never")), ops=ops)
    record = guests.run(tmp_path, program, topology=TWO, reason="virtual_deadline")
    assert 5.5 < ended_at(record) < 6.4
    assert record.payload_events is None
    assert len(record.workers) == 4
    stuck = [report for report in record.workers if report.exit_info == "TimedOut"]
    assert len(stuck) >= 2 and all(report.max_gap_ns > 1 * S for report in stuck)
