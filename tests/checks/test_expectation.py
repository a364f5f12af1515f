"""Runs that must not pass, from what a guest said of its scheduler to the verdict."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ktstr.checks.expectation import ending
from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.thresholds import merge
from ktstr.config.model import CheckValue, Expect
from ktstr.record.guest import GuestRecord, Refusal, SchedEvent
from ktstr.record.machine import MachineEnd
from ktstr.record.outcome import Outcome
from tests.checks.reports import end, heard, record

MS = 1_000_000
STALL = """\
sched_ext: BPF scheduler "ktstr" enabled
sched_ext: BPF scheduler "ktstr" disabled (runnable task stall)
sched_ext: ktstr: worker[77] failed to run for 4.012s
"""
ERROR = 'sched_ext: BPF scheduler "qmap" disabled (scx_bpf_error)\nsched_ext: qmap: bad cpu 12\n'
REFUSAL = "libbpf: prog 'x': BPF program load failed: Invalid argument\nthe verifier rejected it: R1 invalid\n"


def guest(*kinds: str, log: str = "", kmsg: str = "", code: int = 1) -> GuestRecord:
    events = tuple(SchedEvent(10 * MS * i, kind, code, "") for i, kind in enumerate(kinds))  # type: ignore[arg-type]
    return heard(kernel_release="7.2.0", sched_events=events, sched_log=log, sched_kmsg=kmsg, ended=True)


REFUSED = guest("started", "exited", log=REFUSAL)
STALLED = guest("started", "attached", "evicted", "exited", kmsg=STALL)
ERRED = guest("started", "attached", "evicted", "exited", kmsg=ERROR)
DIED = guest("started", "attached", "signaled", "evicted", log="assertion failed", code=6)
FINE = guest("started", "attached", "detached", code=0)


AGAIN = ("started", "attached", "detached")
UNREG = (
    'sched_ext: BPF scheduler "ktstr" enabled\n'
    'sched_ext: BPF scheduler "ktstr" disabled (unregistered from user space)\n'
)


def judged(expect: Expect, heard_of: GuestRecord, machine: MachineEnd | None = None, **checks: CheckValue) -> Judgement:
    expected = Expected((), "scx", "kvm", expect=expect)
    return judge(record(heard_of, machine or end()), merge({}, checks), expected)


@pytest.mark.parametrize(
    ("of", "how", "kind"),
    [
        (REFUSED, "refused", None),
        (STALLED, "evicted", "error_stall"),
        (ERRED, "evicted", "error_bpf"),
        (DIED, "died", None),
        (FINE, "detached", None),
        (guest("started"), "unfinished", None),
        (guest("started", "attach_timeout"), "late", None),
        (guest("started", "evicted", kmsg=ERROR), "refused", "error_bpf"),  # its init failed: it never ran
        (guest(*AGAIN, "started", "attached", "evicted", kmsg=UNREG + STALL), "evicted", "error_stall"),
        (guest(*AGAIN, "started", "exited", kmsg=UNREG), "refused", "unreg"),
        (guest("started", "evicted", kmsg=STALL), "evicted", "error_stall"),  # it ran, between two looks of the agent
    ],
)
def test_the_first_end_tells_how_it_ended(of: GuestRecord, how: str, kind: str | None) -> None:
    found = ending(of)
    assert (found.how, found.exit_kind) == (how, kind)


DUMP = """\
sched_ext_dump: scx_ktstr[77] triggered exit kind 1025 on CPU 1:
sched_ext_dump:   scx_bpf_error (bad cpu 12)
sched_ext_dump:
sched_ext_dump: CPU states
sched_ext_dump: ----------
"""
UNKNOWN = DUMP.replace("1025", "1999")


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        (replace(STALLED, sched_log=ERROR), "error_stall"),  # a scheduler may print what it likes
        (replace(guest("started", "attached", "evicted"), sched_log=STALL), None),
        (replace(guest("started", "attached", "evicted"), sched_dump=DUMP), "error_bpf"),
        (replace(STALLED, sched_dump=DUMP), "error_bpf"),
        (replace(STALLED, sched_dump=UNKNOWN), "error_stall"),
        (replace(STALLED, sched_dump="sched_ext_dump: cut\n"), "error_stall"),
    ],
)
def test_the_kernel_s_own_number_tells_the_kind_and_its_words_only_without_it(
    of: GuestRecord, kind: str | None
) -> None:
    assert ending(of).exit_kind == kind


def test_a_scheduler_that_speaks_of_a_stall_was_not_evicted_for_one() -> None:
    said = replace(ERRED, sched_log="no runnable task stall here\n")
    judgement = judge(record(said, end()), merge({}, {}), Expected((), "scx", "kvm"))
    evicted = next(detail.message for detail in judgement.details if detail.kind == "Evicted")
    assert evicted.startswith("the kernel evicted the scheduler: sched_ext: BPF scheduler")


@pytest.mark.parametrize(
    ("expect", "of"),
    [
        (Expect("refused"), REFUSED),
        (Expect("refused", r"R\d invalid"), REFUSED),
        (Expect("stalls"), STALLED),
        (Expect("stalls", "failed to run for"), STALLED),
        (Expect("evicted"), STALLED),
        (Expect("evicted", r"bad cpu \d+", "error_bpf"), ERRED),
        (Expect("dies", "assertion"), DIED),
        (Expect("fails"), DIED),
        (Expect("fails", "died in mid-run"), DIED),
    ],
)
def test_what_ends_as_expected_passes_and_is_marked(expect: Expect, of: GuestRecord) -> None:
    found = judged(expect, of)
    assert (found.outcome, found.expected_failure) == (Outcome.PASS, True), found.reasons
    assert found.reasons[0].startswith("as expected: the ")
    assert len(found.reasons) == 2, "what happened is told too"


@pytest.mark.parametrize(
    ("expect", "of", "told"),
    [
        (Expect("refused"), FINE,
         "expected the scheduler to be refused at load, but it attached, ran to the end and detached"),
        (Expect("stalls"), ERRED,
         "expected the scheduler to be evicted by the kernel's watchdog, but the kernel evicted it (scx_bpf_error):"
         ' sched_ext: BPF scheduler "qmap" disabled (scx_bpf_error) | sched_ext: qmap: bad cpu 12'),
        (Expect("evicted", "", "error"), STALLED,
         "expected the scheduler to be evicted by the kernel (runtime error), but the kernel evicted it (runnable task"
         ' stall): sched_ext: BPF scheduler "ktstr" disabled'),
        (Expect("dies"), REFUSED, "expected the scheduler to die in mid-run, but it was refused at load: libbpf: prog"),
        (Expect("refused", "func_proto"), REFUSED,
         "expected the scheduler to be refused at load with words like /func_proto/, and it was refused at load, but no"
         " word is like that; what was said: libbpf: prog 'x'"),
        (Expect("fails"), FINE, "expected the run to fail, but it passed"),
        (Expect("fails", "stall"), DIED, "expected the run to fail with words like /stall/, and it failed, but no"),
    ],
)  # fmt: skip
def test_what_ends_otherwise_fails_and_says_how_it_ended(expect: Expect, of: GuestRecord, told: str) -> None:
    found = judged(expect, of)
    assert (found.outcome, found.expected_failure) == (Outcome.FAIL, False)
    assert found.reasons[0].startswith(told), found.reasons[0]
    assert found.details[0].kind == "NotAsExpected"


def test_a_panic_is_expected_by_nobody() -> None:
    found = judged(Expect("stalls"), STALLED, end("panic", "BUG: oops"))
    assert (found.outcome, found.expected_failure) == (Outcome.FAIL, False)
    assert found.reasons[0].startswith("the kernel panicked")


def test_what_the_machine_did_is_no_refusal() -> None:
    assert judged(Expect("fails"), FINE, end("host_timeout")).outcome is Outcome.ERROR


def test_a_gate_that_was_not_evaluated_leaves_a_failure_of_any_kind_open() -> None:
    found = judged(Expect("fails"), FINE, max_imbalance_ratio=2.0)
    assert (found.outcome, found.expected_failure) == (Outcome.INCONCLUSIVE, False)
    assert found.reasons[0] == "expected the run to fail; whether it did cannot be told from this run"


def test_what_the_kernel_refused_a_silent_loader_is_among_the_words() -> None:
    refusal = Refusal(
        at_ns=9, outcome="refused", command="BPF_PROG_LOAD", name="dispatch", error=13, calls=7, alike=True,
        text="R1 invalid mem access 'scalar'\n",
    )  # fmt: skip
    silent = replace(guest("started", "exited"), refusal=refusal)
    assert judged(Expect("refused", message="dispatch: R1 invalid mem access"), silent).outcome == Outcome.PASS
    assert judged(Expect("refused", message="dispatch: R2"), silent).outcome == Outcome.FAIL
