"""Whether the guest's kernel took what was written to its files: each was read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ktstr.checks import quote
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import GuestRecord


@dataclass(frozen=True)
class Setting:
    """A value written to a file of /proc or /sys."""

    path: str
    value: str


def holds(text: str, value: str) -> bool:
    """Whether a file that reads ``text`` has the value.

    As a whole; as the one in brackets, where a file lists what it may hold (``always [madvise] never``); or as one of
    its words, where it lists what is on (sched/features), and then no other than the one that is asked for.
    """
    plain = " ".join(text.split())
    wanted = " ".join(value.split())
    if plain.startswith(f"{wanted} invalid"):  # cpuset.cpus.partition: the word was taken, and no partition made
        return False
    chosen = re.findall(r"\[([^\]]*)\]", plain)
    if chosen:
        return wanted in chosen
    return plain == wanted or wanted in plain.split()


def judge_settings(settings: Mapping[int, Setting], guest: GuestRecord) -> list[Detail]:
    """A detail for each setting that the kernel did not take. One that could not be written or read is the agent's
    error already, and so is a run that was cut short before."""
    reads = {read.op: read for read in guest.reads or ()}
    return [
        _detail(setting, f"reads {quote.clean(reads[op].text)!r}")
        for op, setting in settings.items()
        if op in reads and not holds(reads[op].text, setting.value)
    ]


def _detail(setting: Setting, what: str) -> Detail:
    message = f"{setting.path} {what} after {setting.value!r} was written to it: the run was not set up as declared"
    return Detail(Verdict.INCONCLUSIVE, "Setup", message)
