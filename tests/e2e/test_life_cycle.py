"""A scheduler's life within a run: attached, detached, restarted, replaced; and loaders that do not behave.

Costs four guests of two vCPUs and six of one, 35 s.
"""

from __future__ import annotations

import re
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
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Wait,
    Work,
    Worker,
)
from tests.e2e.programs import MS, SCHEDULER, TWO, Guests, S, payload, whole

pytestmark = pytest.mark.e2e

START, STOP = StartScheduler(0, 20 * S), StopScheduler(5 * S)
NOTICED_NS = 50 * MS


def life(record: GuestRecord) -> list[tuple[str, int]]:
    """Kinds and codes of all that became of schedulers."""
    return [(event.kind, event.code) for event in record.sched_events]


def when(record: GuestRecord, kind: str) -> int:
    """When it was so for the first time, in nanoseconds."""
    return next(event.at_ns for event in record.sched_events if event.kind == kind)


def one(*argv: str, hold_ms: int = 300, timeout_ns: int = 10 * S) -> Program:
    """Starts this scheduler, holds, and stops it."""
    ops = (StartScheduler(0, timeout_ns), Hold(hold_ms * MS), StopScheduler(S))
    return Program(1, 60 * S, payloads=(Payload(argv),), ops=ops)


def test_a_scheduler_is_detached_attached_and_replaced_beside_workers(guests: Guests, tmp_path: Path) -> None:
    works = (Work("SpinWait", OWN_CGROUP, tuple(Worker() for _ in range(4))),)
    payloads = (Payload((SCHEDULER,)), Payload((SCHEDULER, "--print", "--slice-us", "2000")))
    hold = Hold(200 * MS)
    replace = (STOP, StartScheduler(1, 20 * S))
    ops = (START, Spawn(0), Release(), hold, STOP, hold, START, hold, *replace, hold, StopWorkers(), STOP)
    record = guests.run(tmp_path, Program(1, 60 * S, works=works, payloads=payloads, ops=ops), topology=TWO)
    assert record.errors == ()
    assert life(record) == [("started", 0), ("attached", 0), ("detached", 0)] * 3
    assert len(record.workers) == 4 and whole(record.workers)
    assert record.refusal is None
    printed = (record.sched_printk or "").splitlines()
    assert printed and all("bpf_trace_printk: scx_ktstr: dispatch on CPU " in line for line in printed if line)


def test_a_second_scheduler_beside_one_that_is_attached_is_refused(guests: Guests, tmp_path: Path) -> None:
    """The border cannot know what a setup has left."""
    program = one(SCHEDULER)
    again = Program(1, 60 * S, payloads=program.payloads, ops=(START, STOP, START, Hold(MS), STOP))
    record = guests.run(tmp_path, again)
    assert life(record) == [("started", 0), ("attached", 0), ("detached", 0)] * 2


def test_an_error_exit_is_noticed_within_50_ms(guests: Guests, tmp_path: Path) -> None:
    record = guests.run(tmp_path, one(SCHEDULER, "--error-after", "1", hold_ms=10_000))
    assert life(record)[:3] == [("started", 0), ("attached", 0), ("evicted", 0)]
    # It counts from a moment before the attach was seen, and looks each time that a CPU has nothing to do.
    assert when(record, "evicted") - when(record, "attached") < S + NOTICED_NS
    assert "scx_ktstr was asked to fail after 1000 ms" in record.sched_events[2].text


def test_a_death_is_noticed_within_50_ms(guests: Guests, tmp_path: Path) -> None:
    record = guests.run(tmp_path, one("/bin/payload", "die-beside", "6000", SCHEDULER, hold_ms=20_000))
    assert life(record)[:3] == [("started", 0), ("attached", 0), ("signaled", 9)]
    assert 6 * S - NOTICED_NS < when(record, "signaled") - when(record, "started") < 6 * S + NOTICED_NS


def told_ns(record: GuestRecord, words: str) -> int:
    """When the kernel's log had a line with these words, by the log's own clock."""
    found = re.search(rf"^\[ *(\d+)\.(\d{{6}})\] .*{words}", record.sched_kmsg, re.MULTILINE)
    assert found is not None, record.sched_kmsg
    return int(found[1]) * S + int(found[2]) * 1000


def test_a_watchdog_s_eviction_is_noticed_within_50_ms(guests: Guests, tmp_path: Path) -> None:
    """By the guest's clocks alone: the kernel's log and the agent's events are put on the time stamp counter, which
    counts nanoseconds here. The payload reads it before the log stamps its line, the agent when its clock has begun:
    both make the agent later than it was, and none earlier. Measured: 3 ms."""
    works = (Work("SpinWait", OWN_CGROUP, tuple(Worker() for _ in range(4))),)
    payloads = (Payload((SCHEDULER, "--stall-after", "2", "--timeout-ms", "500")), payload("clock"))
    ops = (START, Run(1), Wait(1, S), Spawn(0), Release(), Hold(20 * S), StopWorkers(), STOP)
    record = guests.run(tmp_path, Program(1, 60 * S, works=works, payloads=payloads, ops=ops), topology=TWO)
    assert life(record)[:3] == [("started", 0), ("attached", 0), ("evicted", 0)]
    tsc = re.search(r"sched_ext: tsc (\d+)$", record.sched_kmsg, re.MULTILINE)
    assert tsc is not None and record.begin_tsc is not None
    log_began = int(tsc[1]) - told_ns(record, "sched_ext: tsc ")
    disabled = log_began + told_ns(record, r'" disabled \(runnable task stall\)$')
    noticed = record.begin_tsc + when(record, "evicted")
    assert -NOTICED_NS < noticed - disabled < NOTICED_NS
    assert noticed - record.begin_tsc - when(record, "attached") > S, "it ran before it stalled"


def test_a_loader_that_spins_is_given_up_in_time(guests: Guests, tmp_path: Path) -> None:
    record = guests.run(tmp_path, one("/bin/payload", "spin", timeout_ns=S))
    assert life(record) == [("started", 0), ("attach_timeout", 0)]
    assert S <= when(record, "attach_timeout") - when(record, "started") < S + NOTICED_NS
    assert record.refusal is None


def test_a_loader_that_goes_to_the_background_is_none(guests: Guests, tmp_path: Path) -> None:
    record = guests.run(tmp_path, one("/bin/payload", "go-beside", "", SCHEDULER))
    assert life(record) == [("started", 0), ("exited", 0)]
    assert record.refusal is None or record.refusal.outcome != "refused"


def test_a_loader_that_outlives_its_signal_is_killed_and_the_kernel_is_free_of_it(
    guests: Guests, tmp_path: Path
) -> None:
    record = guests.run(tmp_path, one("/bin/payload", "deaf-beside", "", SCHEDULER))
    assert life(record) == [("started", 0), ("attached", 0), ("detached", 137)]
    assert record.sched_events[-1].text == "did not end on SIGINT within 1000 ms, killed"


def test_nobody_kills_the_agent(guests: Guests, tmp_path: Path) -> None:
    record = guests.run(tmp_path, one("/bin/payload", "kill-init-beside", "", SCHEDULER))
    assert life(record) == [("started", 0), ("attached", 0), ("detached", 0)]


def test_of_megabytes_before_a_death_both_ends_are_kept(guests: Guests, tmp_path: Path) -> None:
    start = StartScheduler(0, 60 * S)  # the agent takes at most 13 MB of it a second
    record = guests.run(tmp_path, Program(1, 100 * S, payloads=(payload("write", "32000000"),), ops=(start,)))
    assert life(record) == [("started", 0), ("exited", 0)]
    head, _, rest = record.sched_log.partition("\n[... ")
    assert head.startswith(f"{500000:063d}\n") and rest.endswith(f"{1:063d}\n")
    assert len(record.sched_log) < 300_000
    assert record.refusal is not None
    assert (record.refusal.outcome, record.refusal.calls, record.refusal.alike) == ("accepted", 0, True)


@pytest.mark.parametrize(
    ("switch", "command", "name", "says"),
    [
        ("--fail-verify", "BPF_PROG_LOAD", "ktstr_dispatch", "R1 invalid mem access 'scalar'"),
        ("--fail-kfunc", "BPF_PROG_LOAD", "ktstr_dispatch", "scx_bpf_ktstr_missing"),
        ("--fail-map", "BPF_MAP_CREATE", "refused_map", "4294967295 entries"),
    ],
)
def test_what_the_kernel_refused_is_told_though_the_loader_prints_nothing(
    guests: Guests, tmp_path: Path, switch: str, command: str, name: str, says: str
) -> None:
    record = guests.run(tmp_path, one(SCHEDULER, switch, "--quiet"))
    assert (life(record), record.sched_log) == ([("started", 0), ("exited", 1)], "")
    refusal = record.refusal
    assert refusal is not None
    assert (refusal.outcome, refusal.command, refusal.name, refusal.alike) == ("refused", command, name, True)
    assert says in refusal.text and refusal.error > 0
