"""Why a machine ended, from what it left: a pure function of the process's end and four small texts.

Console and channel are the guest's own words, so they can only ever be evidence about that guest.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from ktstr.record.guest import GuestRecord
from ktstr.record.machine import ExitReason
from ktstr.vm.channel import ChannelError
from ktstr.vm.watch import Ended

_QUOTE = 300  # characters of somebody else's text in a reason
_PANIC = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[[^\]\n]{0,16}\])? )?Kernel panic - not syncing: *(.*)$", re.MULTILINE)
# Before a kernel has its exception handlers (arch/x86/kernel/head_64.S, early_fixup_exception).
_EARLY_PANIC = re.compile(r"^PANIC: (early exception .*)$", re.MULTILINE)
# What was wrong, before that: arch/x86/kernel/dumpstack.c (die), mm/fault.c, kernel/traps.c, lib/bug.c; and where.
_STAMP = r"^(?:\[ *\d+\.\d+\](?:\[[^\]\n]{0,16}\])? )?"
_OOPS = re.compile(
    _STAMP + r"((?:BUG: |Oops: |kernel BUG at |general protection fault|divide error|stack segment|invalid opcode).*)$",
    re.MULTILINE,
)
_RIP = re.compile(_STAMP + r"RIP: [0-9a-f]{4}:(\S+)", re.MULTILINE)
_NO_CHANNEL = re.compile(r"^ktstr: no channel\b.*$", re.MULTILINE)
_TRIPLE_FAULT = re.compile(r"^Triple fault$", re.MULTILINE)  # QEMU's -d cpu_reset
_NO_REASON = "no reason given"


@dataclass(frozen=True)
class Left:
    """What a machine left behind: texts are tails, bounded by whoever read them."""

    console: str
    failure: str | None  # what the machine itself died of, through no fault of the guest
    triple_fault: bool
    guest: GuestRecord
    channel_error: ChannelError | None
    channel_bytes: int


def reason(ended: Ended, left: Left) -> tuple[ExitReason, str]:
    """The exit reason, and one sentence that says what was seen.

    A panic counts whenever the console shows one, since a kernel that cannot even reset runs into
    the host's limit. What we did comes next, then the emulator's own failure, then the guest's end.
    """
    if ended.stopped == "cancelled":
        return "killed", "cancelled"
    if ended.stopped == "killed":
        return "killed", "ended by whoever started it"
    if ended.stopped == "flood":
        return "channel_flood", f"the guest wrote more than is allowed to {_name(ended)}"
    panic = panic_in(left.console)
    if panic is not None:
        return "panic", f"kernel panic: {_quote(panic) or _NO_REASON}{_oops_in(left.console)}"
    if ended.stopped is not None:
        return "host_timeout", _timeout(ended, left)
    if left.failure is not None:
        return "emulator_failed", left.failure
    return _guest_end(left)


def fell_over(reset_log: str) -> bool:
    """Whether QEMU's log of CPU resets shows a triple fault."""
    return _TRIPLE_FAULT.search(reset_log) is not None


def panic_in(console: str) -> str | None:
    """What the kernel said when it panicked; None when the console shows no panic."""
    found = _PANIC.search(console) or _EARLY_PANIC.search(console)
    return None if found is None else found.group(1)


def _oops_in(console: str) -> str:
    """The first oops of the console and where it was, as the end of a sentence; empty without one."""
    oops = _OOPS.search(console)
    if oops is None:
        return ""
    place = _RIP.search(console, oops.end())
    return f": {_quote(oops[1])}{f' in {_quote(place[1])}' if place else ''}"


def _name(ended: Ended) -> str:
    return "its files" if ended.flooded is None else ended.flooded.name


def _timeout(ended: Ended, left: Left) -> str:
    if left.guest.ended:
        return f"the guest had finished, but its machine was not off after {ended.seconds:.0f} s"
    return f"the machine was still running after {ended.seconds:.0f} s of host time; {_got_to(left)}"


def emulator_failure(ended: Ended, output: str) -> str | None:
    """What an emulator's process died of, with the last lines it wrote; None when it ended well."""
    if ended.status == 0:
        return None
    last_words = _quote(" / ".join(output.strip().splitlines()[-3:])) or "it said nothing"
    if ended.status > 0:
        return f"the emulator exited with {ended.status}: {last_words}"
    try:
        name = signal.Signals(-ended.status).name
    except ValueError:
        name = f"signal {-ended.status}"
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"the emulator was killed by {name}{hint}: {last_words}"


def _guest_end(left: Left) -> tuple[ExitReason, str]:
    if left.triple_fault and not left.guest.ended:
        return "triple_fault", f"a CPU reset itself by a triple fault; {_got_to(left)}"
    error = left.channel_error
    if error is not None and error.kind == "flood":
        return "channel_flood", str(error)
    if error is not None and error.kind == "garbage":
        return "channel_garbage", f"the guest sent what is no message: {_quote(str(error))}"
    if not left.guest.ended:
        return "channel_lost", f"the machine went off before the guest was done; {_got_to(left)}"
    if left.guest.deadline_hit:
        return "virtual_deadline", "the guest stopped at its own deadline"
    return "clean", ""


def _got_to(left: Left) -> str:
    """How far the guest had come."""
    lost = _NO_CHANNEL.search(left.console)
    if lost is not None:
        return f"the kernel shows no virtio port ({_quote(lost.group(0))}); it needs virtio-pci and virtio-console"
    if left.guest.kernel_release is not None:
        return "its last message was cut short" if left.channel_error else "its last messages are missing"
    if left.channel_bytes:
        return "its first message was not whole"
    last = next((line for line in reversed(left.console.splitlines()) if line.strip()), "")
    return f"the guest agent never spoke; the console ends with: {_quote(last) or '(nothing)'}"


def _quote(text: str) -> str:
    """One printable line of bounded length."""
    line = "".join(c if c.isprintable() else " " for c in text).strip()
    return line if len(line) <= _QUOTE else line[:_QUOTE] + "..."
