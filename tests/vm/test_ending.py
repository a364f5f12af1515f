from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_changes

from ktstr.record.guest import SILENT
from ktstr.vm.channel import ChannelError
from ktstr.vm.ending import Left, emulator_failure, fell_over, panic_in, reason
from ktstr.vm.watch import Ended

EXITED = Ended(0, None, None, 12.0, None, None)
KILLED = replace(EXITED, status=-9)
NOTHING = Left("", None, False, SILENT, None, 0)
SPOKE = with_changes(SILENT, kernel_release="7.2.0")
DONE = with_changes(SPOKE, ended=True)
PANIC = "[    0.5] x\n[   12.345678] Kernel panic - not syncing: Fatal exception\n[   12.4] Rebooting in 1 seconds..\n"
RESET = "CPU Reset (CPU 0)\nEAX=0\nTriple fault\nCPU Reset (CPU 0)\n"


@pytest.mark.parametrize(
    ("ended", "left", "expected", "detail"),
    [
        (EXITED, replace(NOTHING, guest=DONE), "clean", ""),
        (EXITED, replace(NOTHING, guest=with_changes(DONE, deadline_hit=True)), "virtual_deadline", "its own deadline"),
        (replace(KILLED, stopped="cancelled"), replace(NOTHING, console=PANIC), "killed", "cancelled"),
        (replace(KILLED, stopped="killed"), replace(NOTHING, console=PANIC), "killed", "by whoever started it"),
        (
            replace(KILLED, stopped="flood", flooded=Path("/w/channel.bin")),
            replace(NOTHING, console=PANIC),
            "channel_flood",
            "more than is allowed to channel.bin",
        ),
        (replace(KILLED, stopped="timeout"), NOTHING, "host_timeout", "still running after 12 s"),
        (replace(KILLED, stopped="dead"), NOTHING, "host_timeout", "still running after 12 s"),
        (replace(KILLED, stopped="timeout"), replace(NOTHING, guest=DONE), "host_timeout", "guest had finished"),
        (replace(KILLED, stopped="timeout"), replace(NOTHING, console=PANIC), "panic", "Fatal exception"),
        (replace(KILLED, stopped="dead"), replace(NOTHING, console=PANIC), "panic", "kernel panic: Fatal exception"),
        (EXITED, replace(NOTHING, console=PANIC, guest=DONE, triple_fault=True), "panic", "Fatal exception"),
        (EXITED, replace(NOTHING, triple_fault=True), "triple_fault", "triple fault"),
        (EXITED, replace(NOTHING, triple_fault=True, guest=DONE), "clean", ""),
        (EXITED, replace(NOTHING, failure="KVM: it broke"), "emulator_failed", "KVM: it broke"),
        (EXITED, replace(NOTHING, failure="it broke", console=PANIC), "panic", "Fatal exception"),
        (EXITED, replace(NOTHING, channel_error=ChannelError("garbage", 40, "bad magic"), channel_bytes=60),
         "channel_garbage", "bad magic at 40"),
        (EXITED, replace(NOTHING, guest=DONE, channel_error=ChannelError("garbage", 40, "bad magic")),
         "channel_garbage", "bad magic at 40"),
        (EXITED, replace(NOTHING, channel_error=ChannelError("flood", 4, "more than 9")),
         "channel_flood", "more than 9"),
        (EXITED, replace(NOTHING, guest=SPOKE, channel_error=ChannelError("truncated", 4, "truncated frame")),
         "channel_lost", "its last message was cut short"),
        (EXITED, replace(NOTHING, guest=SPOKE), "channel_lost", "its last messages are missing"),
        (EXITED, replace(NOTHING, channel_error=ChannelError("truncated", 0, "truncated frame"), channel_bytes=9),
         "channel_lost", "first message was not whole"),
        (EXITED, replace(NOTHING, console="a\nktstr: no channel: no port ktstr.0\nb\n"), "channel_lost",
         "no virtio port (ktstr: no channel: no port ktstr.0)"),
        (EXITED, replace(NOTHING, console="one\ntwo\n\n"), "channel_lost", "never spoke; the console ends with: two"),
        (EXITED, NOTHING, "channel_lost", "(nothing)"),
    ],
)  # fmt: skip
def test_each_end_has_its_reason(ended: Ended, left: Left, expected: str, detail: str) -> None:
    found = reason(ended, left)
    assert found[0] == expected
    assert detail in found[1]


OOPS = """\
[   12.1] BUG: kernel NULL pointer dereference, address: 0000000000000051
[   12.1] #PF: supervisor read access in kernel mode
[   12.1] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
[   12.1] RIP: 0010:pick_task_fair+0x4b/0xb0
[   12.2] RIP: 0033:0x4017c5
"""


@pytest.mark.parametrize(
    ("console", "said"),
    [
        (OOPS + PANIC, "kernel panic: Fatal exception: BUG: kernel NULL pointer dereference, address: 0000000000000051"
                       " in pick_task_fair+0x4b/0xb0"),
        ("[    1.0] kernel BUG at kernel/sched/deadline.c:1!\n" + PANIC,
         "kernel panic: Fatal exception: kernel BUG at kernel/sched/deadline.c:1!"),
        ("[    1.0][  C1] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP\n"
         "[    1.0][  C1] RIP: 0010:rb_erase+0x1/0x2\n" + PANIC,
         "kernel panic: Fatal exception: Oops: general protection fault, probably for non-canonical address 0xdead:"
         " 0000 [#1] SMP in rb_erase+0x1/0x2"),
        ("worker says: BUG: no\n" + PANIC, "kernel panic: Fatal exception"),
        (PANIC, "kernel panic: Fatal exception"),
    ],
)  # fmt: skip
def test_a_panic_is_told_with_the_oops_before_it(console: str, said: str) -> None:
    assert reason(EXITED, replace(NOTHING, console=console)) == ("panic", said)


@pytest.mark.parametrize(
    ("status", "output", "expected"),
    [
        (0, "a warning\n", None),
        (1, "qemu: no kernel\n", "the emulator exited with 1: qemu: no kernel"),
        (1, "a\nb\nc\nd\n", "the emulator exited with 1: b / c / d"),
        (1, "", "the emulator exited with 1: it said nothing"),
        (-9, "", "the emulator was killed by SIGKILL (out of memory?): it said nothing"),
        (-6, "", "the emulator was killed by SIGABRT: it said nothing"),
        (-99, "", "the emulator was killed by signal 99: it said nothing"),
    ],
)
def test_an_emulator_that_failed_is_quoted(status: int, output: str, expected: str | None) -> None:
    assert emulator_failure(replace(EXITED, status=status), output) == expected


def test_a_log_of_resets_tells_a_triple_fault() -> None:
    assert fell_over(RESET)
    assert not fell_over("CPU Reset (CPU 0)\nnot Triple fault\n")


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        ("[    1.5] Kernel panic - not syncing: VFS: Unable to mount root fs", "VFS: Unable to mount root fs"),
        ("[    1.5][    T1] Kernel panic - not syncing: x", "x"),
        ("Kernel panic - not syncing: without a time", "without a time"),
        ("[    1.5] Kernel panic - not syncing: ", ""),
        ("PANIC: early exception 0x08 IP 286:10 error 0", "early exception 0x08 IP 286:10 error 0"),
        ("worker says: Kernel panic - not syncing: no", None),
        ("[    1.5] ---[ end Kernel panic - not syncing: x ]---", None),
        ("", None),
    ],
)
def test_only_the_kernels_own_line_is_a_panic(console: str, expected: str | None) -> None:
    assert panic_in(console) == expected


def test_what_a_guest_says_is_quoted_on_one_line_of_bounded_length() -> None:
    noise = "[    1.0] Kernel panic - not syncing: \x1b[31m" + "x" * 100_000
    detail = reason(EXITED, replace(NOTHING, console=noise))[1]
    assert detail.isprintable()
    assert len(detail) < 400


@given(st.text(max_size=300), st.text(max_size=300), st.integers(-70, 255))
def test_any_text_gives_one_printable_sentence(console: str, output: str, status: int) -> None:
    ended = replace(EXITED, status=status)
    left = replace(NOTHING, console=console, failure=emulator_failure(ended, output))
    assert reason(ended, left)[1].isprintable()
