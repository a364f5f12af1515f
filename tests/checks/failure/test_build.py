from __future__ import annotations

from msgspec.structs import replace

from ktstr.checks.failure.build import Cell, failure_dump
from ktstr.checks.failure.summary import Scene, advice
from ktstr.record.dump import FailureDump, Inspected, Snapshot
from ktstr.record.guest import GuestCpu, GuestRecord, Refusal, SchedEvent, Stimulus
from ktstr.record.machine import MachineEnd
from tests.checks.failure.dumps import ERROR, LOST_TASK, STALL
from tests.checks.reports import MS, end, heard, record

CELL = Cell("steady/tiny/k/mine/icount-s0", "mine", "icount", "booting\nlast line\n")
STARTED, ATTACHED = SchedEvent(1 * MS, "started", 0, "/sched/bin/x"), SchedEvent(2 * MS, "attached", 0, "ktstr")
EVICTED = SchedEvent(900 * MS, "evicted", 0, 'sched_ext: BPF scheduler "ktstr" disabled (runnable task stall)')
CPUS = tuple(GuestCpu(cpu, 0, 0, (), ()) for cpu in range(4))


def guest(**changes: object) -> GuestRecord:
    events = (STARTED, ATTACHED, EVICTED)
    return heard(**{"kernel_release": "7.2.0", "cpus": CPUS, "sched_events": events, "ended": True, **changes})


def dumped(found: GuestRecord, machine: MachineEnd | None = None) -> FailureDump:
    made = failure_dump(CELL, record(found, machine))
    assert made is not None
    return made


def test_a_scheduler_that_was_not_lost_has_no_dump() -> None:
    fine = guest(sched_events=(STARTED, ATTACHED, SchedEvent(3 * MS, "detached", 0, "")))
    assert failure_dump(CELL, record(fine)) is None


def test_a_stall_names_the_task_its_wait_its_queue_its_cpu_and_who_was_idle() -> None:
    assert dumped(guest(sched_dump=STALL)).summary == (
        "ktstr stalled: task worker/0[120] waited 1.728 s and did not run, in DSQ 0x7 with 1 other task, on the"
        " runqueue of CPU 2, which was idle (idle too, of CPUs 0-1,3 that it may use: 0-1); the kernel's watchdog"
        " evicted it"
    )


def test_an_error_names_the_kernels_reason_the_message_and_the_program() -> None:
    found = dumped(guest(sched_log=ERROR))
    assert found.summary == (
        "ktstr was ended by the kernel: scx_bpf_error: no queue for cell (3), in the BPF program mine_enqueue"
    )
    assert found.unavailable["sched_ext_dump"].startswith("sched_ext printed none")


def test_a_lost_task_is_with_the_bpf_scheduler_and_the_hint_says_where_to_look() -> None:
    found = dumped(guest(sched_dump=LOST_TASK))
    assert found.summary == (
        "ktstr stalled: task lost[500] waited 30.004 s and did not run, in no DSQ: the BPF scheduler has it, and did"
        " not dispatch it, on the runqueue of CPU 1, which ran hog[400]; the kernel's watchdog evicted it"
    )
    hint = advice(Scene(found.late, found.early, found.exit))
    assert hint == "ops.enqueue took the task and nothing dispatched it: look at its own queues and ops.dispatch"


def test_a_cpu_that_tells_of_the_stall_is_shown_as_it_was_before() -> None:
    text = STALL.replace("curr=swapper/2[0] class=idle_sched_class", "curr=kworker/u16:3[59] class=ext_sched_class")
    late = dumped(guest(sched_dump=text)).late
    assert late is not None
    before = dumped(guest(sched_dump=STALL)).late
    inspected = Inspected(programs=(), profile=(), watchdog_timeout_ms=2000, early=before, late=None, unread=None)
    made = failure_dump(CELL, replace(record(guest(sched_dump=text)), inspected=inspected))
    assert made is not None and made.early == before
    assert "on the runqueue of CPU 2, which was idle" in made.summary


def test_one_that_never_attached_is_a_placeholder_with_its_stage_and_the_verifiers_words() -> None:
    events = (STARTED, SchedEvent(5 * MS, "exited", 1, ""))
    refusal = Refusal(
        at_ns=6 * MS, outcome="refused", command="BPF_PROG_LOAD", name="mine_dispatch", error=13, calls=9, alike=True,
        text="0: R1=ctx()\nR1 invalid mem access 'scalar'\nprocessed 19 insns (limit 1000000)\n",
    )  # fmt: skip
    found = dumped(guest(sched_events=events, refusal=refusal))
    assert (found.is_placeholder, found.stage, found.scheduler) == (True, "scheduler_started", None)
    assert found.summary == (
        "mine's process ended before it attached, with exit status 1; the kernel refused BPF_PROG_LOAD of"
        " mine_dispatch (Permission denied): R1 invalid mem access 'scalar'"
    )
    for part in ("exit", "cpus", "waiting", "dsqs", "programs", "maps", "registers", "stacks"):
        assert found.unavailable[part]


def test_one_of_which_nothing_was_heard_is_a_placeholder_of_a_silent_guest() -> None:
    found = dumped(heard(), end("panic", "kernel panic: no init"))
    assert (found.is_placeholder, found.stage) == (True, "guest_silent")
    assert found.summary == "the guest's kernel panicked while mine ran: kernel panic: no init"


def test_a_stage_is_that_at_the_loss_whatever_was_cleaned_up_afterwards() -> None:
    stimuli = (Stimulus(1 * MS, "Release", "", 0), Stimulus(950 * MS, "StopWorkers", "", 5))
    assert dumped(guest(sched_dump=STALL, stimuli=stimuli)).stage == "workload_started"


def test_a_process_that_died_says_how_and_its_words() -> None:
    events = (STARTED, ATTACHED, SchedEvent(70 * MS, "signaled", 11, "Segmentation fault"))
    found = dumped(guest(sched_events=events, sched_log="hello\nabout to crash\n"))
    assert found.summary == (
        "ktstr's process ended while it was attached, 70.000 ms into the run, of signal 11 (Segmentation fault);"
        " its words: hello | about to crash"
    )


def test_without_a_dump_the_kernels_log_says_who_waited() -> None:
    log = '[ 1.0] sched_ext: BPF scheduler "ktstr" disabled (runnable task stall)\n' + (
        "[ 1.1] sched_ext: ktstr: worker[77] failed to run for 4.012s\n"
    )
    found = dumped(guest(sched_kmsg=log))
    assert found.summary == (
        "ktstr stalled: task worker[77] was runnable for 4.012 s and did not run; the kernel's watchdog evicted it"
    )
    assert isinstance(found.late, Snapshot | None) and "waiting" in found.unavailable


def test_the_last_lines_of_console_and_logs_are_kept() -> None:
    found = dumped(guest(sched_dump=STALL, sched_log="\n".join(map(str, range(500)))))
    assert found.console == ("booting", "last line")
    assert (len(found.scheduler_log), found.scheduler_log[-1]) == (200, "499")


def test_a_sentence_is_one_line_of_bounded_length_without_control_characters() -> None:
    events = (STARTED, ATTACHED, SchedEvent(70 * MS, "evicted", 0, "x\x1b[31m\n" + "y" * 5000))
    summary = dumped(guest(sched_events=events, sched_log="z" * 5000)).summary
    assert len(summary) <= 600 and summary.isprintable()
