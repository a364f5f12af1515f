from __future__ import annotations

from typing import Any

import pytest

from ktstr.checks.lifecycle import judge_scheduler, stall_ns
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import Refusal, RetryOutcome, SchedEvent
from tests.checks.reports import heard

MS = 1_000_000
KMSG = """\
sched_ext: BPF scheduler "ktstr" enabled
sched_ext: BPF scheduler "ktstr" disabled (runnable task stall)
sched_ext: ktstr: worker[77] failed to run for 4.012s
   scx_watchdog_workfn+0x1a7/0x220
"""


def event(kind: str, code: int = 0, text: str = "", at_ms: int = 10) -> SchedEvent:
    return SchedEvent(at_ms * MS, kind, code, text)  # type: ignore[arg-type]


def life(*events: SchedEvent, log: str = "", kmsg: str = "", errors: tuple[str, ...] = ()) -> list[Detail]:
    guest = heard(sched_events=events, sched_log=log, sched_kmsg=kmsg, errors=errors, ended=True)
    return judge_scheduler(guest, "scx_ktstr", ended_well=True)


def only(details: list[Detail]) -> Detail:
    assert len(details) == 1, details
    return details[0]


GOOD = (event("started"), event("attached"), event("detached"))


def test_a_scheduler_that_attached_and_detached_gives_no_detail() -> None:
    assert life(*GOOD) == []


def test_the_end_after_an_ordered_stop_is_not_a_death() -> None:
    assert life(*GOOD, event("exited", 0)) == []


def test_the_kernels_own_scheduler_has_no_life_to_judge() -> None:
    assert judge_scheduler(heard(ended=True), None, ended_well=True) == []


def test_a_death_at_load_quotes_its_own_last_words() -> None:
    found = only(life(event("started"), event("exited", 7), log="libbpf: hello\nno such kfunc scx_bpf_consume\n"))
    assert (found.verdict, found.kind) == (Verdict.FAIL, "SchedulerDied")
    assert found.message.startswith("scheduler process died at load")
    assert "exit status 7" in found.message and "no such kfunc scx_bpf_consume" in found.message


# As the verifier of 7.2 writes it.
LOG = """\
46: (79) r1 = *(u64 *)(r1 +128)         ; R1=scalar()
; *(volatile u64 *)(u64)prev->scx.weight = 1; @ faults.bpf.h:140
48: (7b) *(u64 *)(r1 +0) = r2
R1 invalid mem access 'scalar'
processed 30 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 2 mark_read 0
"""


def traced(outcome: RetryOutcome, command: str | None = None, **more: Any) -> str:
    facts: dict[str, Any] = {"name": "", "error": 0, "calls": 41, "alike": True, "text": "", **more}
    refusal = Refusal(at_ns=9, outcome=outcome, command=command, **facts)
    guest = heard(sched_events=(event("started"), event("exited", 1)), refusal=refusal, ended=True)
    return only(judge_scheduler(guest, "scx_ktstr", ended_well=True)).message.partition("exit status 1; ")[2]


def test_a_program_that_was_refused_is_named_with_the_verifiers_reason() -> None:
    said = traced("refused", "BPF_PROG_LOAD", name="ktstr_dispatch", error=13, text=LOG)
    assert said == (
        "the kernel refused BPF_PROG_LOAD of ktstr_dispatch (Permission denied):"
        " ; *(volatile u64 *)(u64)prev->scx.weight = 1; @ faults.bpf.h:140 | 48: (7b) *(u64 *)(r1 +0) = r2"
        " | R1 invalid mem access 'scalar'; it said nothing"
    )


def test_a_map_that_was_refused_is_named_with_what_was_asked_for() -> None:
    said = traced("refused", "BPF_MAP_CREATE", name="big\x1b[2J", error=7, text="map of type 2")
    assert said == "the kernel refused BPF_MAP_CREATE of big (Argument list too long): map of type 2; it said nothing"


@pytest.mark.parametrize(
    ("outcome", "more", "says"),
    [
        ("refused", {"alike": False, "error": 22}, "it ended otherwise than the first time"),
        ("accepted", {}, "started once more with its bpf(2) calls traced, the kernel refused it none of 41"),
        ("accepted", {"calls": 0}, "the kernel refused it nothing: it made no bpf(2) call"),
        ("accepted", {"alike": False}, "none of 41; it ended otherwise than before"),
        ("attached", {"alike": False}, "started once more with its bpf(2) calls traced, it attached"),
        ("timed_out", {"alike": False}, "it went on until it was ended"),
        ("untraced", {"error": 1}, "its bpf(2) calls could not be traced: Operation not permitted"),
    ],
)
def test_what_behaves_otherwise_when_traced_is_said_so(outcome: RetryOutcome, more: dict[str, Any], says: str) -> None:
    assert says in traced(outcome, "BPF_LINK_CREATE" if outcome == "refused" else None, **more)


def test_a_death_without_a_word_says_so() -> None:
    assert only(life(event("started"), event("exited", 1))).message.endswith("it said nothing")


def test_a_death_in_mid_run_names_the_signal_and_the_time() -> None:
    found = only(life(event("started"), event("attached"), event("signaled", 11, at_ms=1500), log="oops"))
    assert found.message.startswith("scheduler process died in mid-run at 1500.000 ms: SIGSEGV")


def test_a_watchdog_eviction_says_so_and_quotes_the_kernels_exit_message() -> None:
    found = only(life(event("started"), event("attached"), event("evicted"), event("exited", 1), kmsg=KMSG))
    assert (found.verdict, found.kind) == (Verdict.FAIL, "Evicted")
    assert "the kernel's watchdog evicted the scheduler" in found.message
    assert 'BPF scheduler "ktstr" disabled (runnable task stall)' in found.message
    assert "worker[77] failed to run for 4.012s" in found.message


def test_another_eviction_is_not_called_the_watchdogs() -> None:
    kmsg = 'sched_ext: BPF scheduler "ktstr" disabled (runtime error)\n'
    found = only(life(event("attached"), event("evicted"), kmsg=kmsg))
    assert "watchdog" not in found.message and "disabled (runtime error)" in found.message


def test_what_came_first_is_the_cause() -> None:
    own = only(life(event("attached"), event("exited", 0), event("evicted", text="unregistered from user space")))
    assert own.kind == "SchedulerDied" and "exit status 0" in own.message
    kernels = only(life(event("attached"), event("evicted", text="sched_ext: x disabled (oops)"), event("exited", 0)))
    assert kernels.kind == "Evicted" and "sched_ext: x disabled (oops)" in kernels.message


def test_an_eviction_also_quotes_what_the_scheduler_printed() -> None:
    found = only(life(event("attached"), event("evicted"), kmsg=KMSG, log="EXIT: runnable task stall (worker[77])\n"))
    assert found.message.endswith("its last words: EXIT: runnable task stall (worker[77])")
    assert "scx_watchdog_workfn" not in found.message and "enabled" not in found.message


def test_a_detach_only_by_killing_or_by_a_crash_is_not_clean() -> None:
    killed = only(life(event("attached"), event("detached", 137, "did not end on SIGINT within 5000 ms, killed")))
    assert (killed.verdict, killed.kind) == (Verdict.FAIL, "DetachFailed") and "within 5000 ms" in killed.message
    assert "SIGSEGV" in only(life(event("attached"), event("detached", 139))).message
    assert life(event("attached"), event("detached", 130)) == [], "died of the SIGINT it was sent"


def test_a_scheduler_that_never_attached_in_time_fails_with_its_words() -> None:
    found = only(life(event("started"), event("attach_timeout"), log="waiting for something"))
    assert (found.verdict, found.kind) == (Verdict.FAIL, "NotAttached")
    assert "waiting for something" in found.message


def test_a_failed_load_is_told_with_the_kernels_warning_and_libbpfs_words() -> None:
    kmsg = "[    1.2] WARNING: kernel/bpf/verifier.c:20 at check+0x1/0x2, CPU#1: scx_ktstr/70\n[ 1.3] sched_ext: x\n"
    log = "libbpf: failed to open system Kconfig\n" + "more\n" * 5 + "Error: Failed to load BPF program\n"
    found = only(life(event("started"), event("exited", 1), log=log, kmsg=kmsg))
    assert found.kind == "SchedulerDied"
    assert "; the kernel: [    1.2] WARNING: kernel/bpf/verifier.c:20" in found.message
    assert "; its words: libbpf: failed to open system Kconfig | more | Error: Failed to load" in found.message


def test_what_sched_ext_itself_says_of_a_load_that_it_refused_is_quoted() -> None:
    kmsg = (
        "[   13.694444] sched_ext: Writing directly to p->scx.slice is deprecated, use scx_bpf_task_set_slice()\n"
        '[   13.700000] sched_ext: Not compatible with "isolcpus=" domain isolation\n'
    )
    found = only(life(event("started"), event("exited", 1), log="Error: Invalid argument\n", kmsg=kmsg))
    assert '; the kernel: sched_ext: Not compatible with "isolcpus=" domain isolation; its words: ' in found.message


def test_a_binary_that_cannot_run_is_named_with_the_reason() -> None:
    found = only(life(event("spawn_failed", 2)))
    assert found.kind == "SchedulerDied" and "No such file or directory" in found.message


def test_a_failed_detach_fails() -> None:
    found = only(life(event("attached"), event("detach_failed", 110, "still enabled after 5 s")))
    assert (found.verdict, found.kind) == (Verdict.FAIL, "DetachFailed")
    assert "still enabled after 5 s" in found.message


def test_silence_about_a_declared_scheduler_is_no_pass() -> None:
    assert only(life()).verdict is Verdict.INCONCLUSIVE
    assert only(life(event("started"), event("attached"))).kind == "DetachFailed"


def test_hostile_log_text_is_quoted_clean() -> None:
    found = only(life(event("started"), event("exited", 1), log="\x1b[2J\x1b]0;x\x07bad\x00\x08"))
    assert "bad" in found.message and found.message.isprintable()


def test_a_third_of_the_longest_stall_told_may_be_beyond_the_timeout() -> None:
    assert stall_ns(heard(sched_kmsg=KMSG)) == 4012 * MS / 3
    told = event("evicted", text="x[1] failed to run for 6.000s")
    assert stall_ns(heard(sched_events=(told,), sched_kmsg=KMSG)) == 2000 * MS
    assert stall_ns(heard(sched_events=(event("evicted", text="failed to run for long"),))) is None


def test_what_becomes_of_a_scheduler_that_was_attached_again_is_judged() -> None:
    again = (*GOOD, event("started"), event("attached"))
    found = only(life(*again, event("evicted", text="sched_ext: oh"), event("exited")))
    assert found.kind == "Evicted"
    found = only(life(*again))
    assert (found.verdict, found.kind) == (Verdict.INCONCLUSIVE, "DetachFailed")
    assert life(*GOOD, *GOOD) == []


def test_a_loader_that_went_to_the_background_is_told_to_stay() -> None:
    assert "a scheduler has to stay in the foreground" in only(life(event("started"), event("exited", 0))).message
