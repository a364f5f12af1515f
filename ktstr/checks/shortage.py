"""When the guest itself was the cause: its kernel has no sched_ext, it had too little memory for what it was given, or
too little time to load it.

Nobody is blamed for any: the cell is an error that names what helps.
"""

from __future__ import annotations

import re

from ktstr.checks import quote
from ktstr.record.guest import GuestRecord
from ktstr.record.machine import MachineEnd

# mm/oom_kill.c: check_panic_on_oom (the default of ``vm.kernel_args``), out_of_memory, and __oom_kill_process where a
# test sets vm.panic_on_oom to 0. A cgroup that reaches its own limit ("Memory cgroup out of memory") is what a test
# declared.
_PANIC = re.compile(r"Out of memory: [a-z-]+ panic_on_oom|System is deadlocked on memory")
_KILLED = re.compile(r"(?<!cgroup )\bout of memory: Killed process \d+ \([^)]{0,64}\)", re.IGNORECASE)
_NO_SCHED_EXT = "this kernel has no sched_ext: "  # vmm_c/guest/proc/scheduler.c
_MORE = 2  # times the memory that was too little


def no_sched_ext(guest: GuestRecord) -> str | None:
    """The error of a guest whose kernel can run no scheduler but its own; None when it can."""
    said = next((error for error in guest.errors if error.startswith(_NO_SCHED_EXT)), None)
    return None if said is None else f"{quote.clean(said)}; another kernel has it, or it can be built with that"


def out_of_memory(guest: GuestRecord, end: MachineEnd) -> str | None:
    """What the kernel said of its lack of memory; None when it did not lack any."""
    killed = _KILLED.search(guest.sched_kmsg)
    if killed is not None:
        return killed.group(0)
    return end.detail if end.reason == "panic" and _PANIC.search(end.detail) else None


def too_small(guest: GuestRecord, words: str, memory_mib: int | None) -> str:
    """The error of a guest that ran out of ``memory_mib``, in the kernel's ``words``."""
    kinds = [event.kind for event in guest.sched_events]
    when = " to load the scheduler" if kinds and "attached" not in kinds else ""
    size, more = ("", "") if memory_mib is None else (f" with memory_mib={memory_mib}", f": {memory_mib * _MORE}")
    return f"the guest was too small{when}{size}: {quote.clean(words)}; memory_mib{more} in the test raises it"


def too_slow(guest: GuestRecord, scheduler: str | None, timeout_ns: int | None) -> str:
    """The error of an emulated machine on which ``scheduler`` did not attach within ``timeout_ns``."""
    limit = "its limit" if timeout_ns is None else f"{timeout_ns / 1e9:g} s"
    words = quote.telling_words(guest.sched_log)
    more = "" if timeout_ns is None else f": {-(-timeout_ns // 1_000_000_000) * _MORE}s"
    return (
        f"{scheduler or 'the scheduler'} did not attach within {limit} of emulated time;"
        f" attach_timeout{more} under schedulers.{scheduler or 'NAME'} in ktstr.yaml raises it"
        f"{f'; its last words: {words}' if words else '; it said nothing'}"
    )
