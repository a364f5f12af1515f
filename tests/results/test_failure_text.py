"""What people read of three faults, and that no stranger's text harms a terminal."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from ktstr.checks.failure.build import Cell, failure_dump
from ktstr.record.dump import FailureDump
from ktstr.record.guest import GuestRecord, SchedEvent
from ktstr.results.failure_text import WIDTH, render
from tests.checks.failure.dumps import ERROR, LOST_TASK, STALL
from tests.checks.failure.test_build import CELL, dumped, guest
from tests.checks.reports import MS, record
from tests.results.cells import sidecar


def first(found: FailureDump, count: int = 20) -> str:
    return "\n".join(render(found).splitlines()[:count])


def unfolded(text: str) -> str:
    return " ".join(text.split())


def test_the_first_20_lines_of_a_stall_name_the_task_its_wait_its_queue_and_the_cpu() -> None:
    text = first(dumped(guest(sched_dump=STALL)))
    assert text.startswith("BUG SUMMARY: ktstr stalled: task worker/0[120] waited 1.728 s")
    for words in ("in DSQ 0x7 with 1 other task", "CPU 2, which was idle", "hint: no CPU took the task from DSQ 0x7"):
        assert words in unfolded(text)
    assert "1.728 s  worker/0[120]            CPU 2, DSQ 0x7, may use 0-1,3, weight 200" in text
    assert "CPU 2    runs swapper/2[0] (idle)" in text


def test_the_first_20_lines_of_an_error_name_the_message_and_where_it_came_from() -> None:
    text = first(dumped(guest(sched_log=ERROR)))
    assert "scx_bpf_error: no queue for cell (3), in the BPF program mine_enqueue" in unfolded(text)
    assert "bpf_prog_19e874da3e8a6572_mine_enqueue+0x9c/0x109" in text
    assert "hint:" not in text


def test_the_first_20_lines_of_a_lost_task_say_who_has_it_and_who_ran() -> None:
    text = first(dumped(guest(sched_dump=LOST_TASK)))
    assert (
        "the BPF scheduler has it, and did not dispatch it, on the runqueue of CPU 1, which ran hog[400]"
        in unfolded(text)
    )
    assert "hint: ops.enqueue took the task and nothing dispatched it" in unfolded(text)
    assert "CPU 1    runs hog[400] (ext)" in text


def test_a_cpus_stack_begins_below_the_frames_of_the_dump_itself() -> None:
    lines = render(dumped(guest(sched_dump=STALL))).splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("  CPU 3 "))
    assert lines[at + 1].strip() == "scx_watchdog_workfn+0x1ab/0x240"


def test_sections_follow_in_order_and_empty_ones_are_left_out() -> None:
    stats = replace(sidecar(), monitor=None)
    titles = [line for line in render(dumped(guest(sched_dump=STALL)), stats).splitlines() if line.startswith("---")]
    assert titles == [
        "--- waiting tasks ---", "--- cpus ---", "--- dsqs ---", "--- exit ---", "--- stats ---", "--- diagnostics ---",
        "--- timeline ---", "--- sched_ext dump ---", "--- not available ---",
    ]  # fmt: skip


def hostile() -> GuestRecord:
    evil = "\x1b[2J\x1b]0;title\x07\u202eevil\r" + "W" * 400
    text = STALL.replace("worker/0", "\x1b[31mw\u202e")
    events = (SchedEvent(1, "attached", 0, evil), SchedEvent(9 * MS, "evicted", 0, evil))
    return guest(
        sched_events=events, sched_dump=text, sched_log=f"{evil}\n{evil}", sched_kmsg=evil, kernel_release=evil
    )


def test_no_line_is_wider_than_100_columns_and_nothing_unprintable_is_printed() -> None:
    made = failure_dump(named("steady/tiny/k/\x1b[31m/icount-s0"), record(hostile()))
    assert made is not None
    for line in render(made).splitlines():
        assert len(line) <= WIDTH and line.isprintable(), line


def named(name: str) -> Cell:
    return dataclasses.replace(CELL, name=name, console="\x1b[31mred\x00\u2028line\n")
