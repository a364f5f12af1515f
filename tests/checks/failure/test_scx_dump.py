from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.checks.failure.scx_dump import MAX_TASKS, parse_scx_dump
from ktstr.record.codec import decode, encode
from ktstr.record.dump import Snapshot
from tests.checks.failure.dumps import ERROR, LOST_TASK, STALL


def parsed(text: str) -> Any:
    found = parse_scx_dump(text, at_ns=5)
    assert found is not None
    return found


def test_the_exit_is_in_the_kernels_words() -> None:
    found = parsed(STALL)
    assert (found.ops, found.exit.kind, found.exit.cpu, found.exit.task) == (
        "ktstr", "error_stall", 2, "kworker/u16:3[59]",
    )  # fmt: skip
    assert found.exit.reason == "runnable task stall"
    assert found.exit.message == "worker/0[120] failed to run for 1.728s"
    assert found.exit.backtrace == ("__scx_exit+0x4f/0x70", "scx_watchdog_workfn+0x18e/0x240")
    assert found.exit.at_ns == 5


def test_waiting_tasks_come_longest_first_with_their_queue_their_wait_and_their_stack() -> None:
    first, second, third = parsed(STALL).snapshot.waiting
    assert (first.pid, first.comm, first.cpu, first.state, first.waited_ms) == (120, "worker/0", 2, "R", 1728)
    assert (first.dsq, first.where, first.allowed_cpus, first.weight) == ("0x7", "DSQ 0x7", "0-1,3", 200)
    assert (first.vtime, first.slice_ns, first.owner) == (55, 10_000_000, "kernel")
    assert first.stack == ("futex_do_wait+0x7c/0x110", "do_syscall_64+0xe1/0x610")
    assert (second.pid, second.waited_ms, second.stack) == (121, 900, ())
    assert (third.pid, third.waited_ms, third.where) == (46, 0, "the local DSQ of CPU 3")  # woken after the dump began


def test_cpus_have_what_runs_there_and_tasks_that_run_are_not_waiting() -> None:
    idle, busy = parsed(STALL).snapshot.cpus
    assert (idle.cpu, idle.scx_nr_running, idle.scx_flags, idle.current.sched_class) == (2, 2, "0x1", "idle")
    assert (busy.current.pid, busy.current.comm, busy.current.sched_class) == (59, "kworker/u16:3", "ext")
    assert busy.current.stack[0] == "scx_dump_state+0x2a1/0x570"


def test_queues_are_told_apart_and_local_ones_by_their_cpu() -> None:
    own, local = parsed(STALL).snapshot.dsqs
    assert (own.id, own.name, own.cpu, own.depth, own.pids) == ("0x7", "DSQ 0x7", None, 2, (120, 121))
    assert (local.id, local.name, local.cpu, local.pids) == (
        "0x8000000000000002", "the local DSQ of CPU 3", 3, (46,),
    )  # fmt: skip


def test_events_are_counted() -> None:
    assert parsed(STALL).snapshot.events == {"select_cpu_fallback": 3, "bypass_duration": 27562883}


def test_a_loaders_print_of_an_older_kernel_is_read_too_with_what_is_the_schedulers_own_passed_over() -> None:
    found = parsed(ERROR)
    assert (found.ops, found.exit.kind, found.exit.cpu) == (None, "error_bpf", None)
    assert found.exit.message == "no queue for cell (3)"
    assert found.exit.backtrace[1] == "bpf_prog_19e874da3e8a6572_mine_enqueue+0x9c/0x109"
    (cpu,) = found.snapshot.cpus
    assert (cpu.cpu, cpu.current.pid, found.snapshot.waiting) == (0, 77, ())


def test_a_task_that_the_bpf_scheduler_holds_is_in_no_queue() -> None:
    (lost,) = parsed(LOST_TASK).snapshot.waiting
    assert (lost.pid, lost.dsq, lost.owner) == (500, None, "bpf_scheduler")
    assert lost.where == "no DSQ: the BPF scheduler has it, and did not dispatch it"


def test_a_text_that_is_no_dump_is_none() -> None:
    assert parse_scx_dump("scx_ktstr: attached\nCPU states of mind\n") is None


@pytest.mark.parametrize("at", range(0, len(STALL), 97))
def test_a_dump_that_is_cut_anywhere_gives_what_came_before(at: int) -> None:
    whole, found = parsed(STALL), parse_scx_dump(STALL[:at])
    assert found is None or {task.pid for task in found.snapshot.waiting} <= {
        task.pid for task in whole.snapshot.waiting
    }


def test_names_may_hold_anything_and_are_harmless_afterwards() -> None:
    evil = "a[1] *root\x1b[31m"
    (task, *_) = parsed(STALL.replace("worker/0[120] *root", f"{evil}[120] *root")).snapshot.waiting
    assert (task.pid, task.comm) == (120, "a[1] *root")


def test_more_tasks_than_a_dump_can_have_are_cut_and_soon() -> None:
    one = STALL[STALL.index("sched_ext_dump:   R worker/1") : STALL.index("sched_ext_dump: CPU 3 ")]
    began = time.perf_counter()
    found = parsed(STALL.replace(one, one * 5000))
    assert len(found.snapshot.waiting) <= MAX_TASKS
    assert time.perf_counter() - began < 30


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(STALL) - 1),
            st.text(alphabet=st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["9" * 30, "-", "\n", "["]),
        ),
        max_size=8,
    )
)
def test_whatever_a_text_was_mutated_to_fits_the_record(changes: list[tuple[int, str]]) -> None:
    text = STALL
    for at, piece in changes:
        text = text[:at] + piece + text[at + len(piece) :]
    found = parse_scx_dump(text)
    if found is not None:
        decode(Snapshot, encode(found.snapshot), "dump")
