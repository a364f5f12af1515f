"""Quoting what a guest, a scheduler or a kernel said, so that it is safe to print and short."""

from __future__ import annotations

import itertools
import os
import re

from ktstr.record.guest import Refusal

LINE_MAX = 300
# Terminal escapes: CSI and OSC sequences, then every other control character but tab.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


# What libbpf complains of; what it prints of a program that was refused begins and ends with such a line, and the
# verifier's reason stands before its own count.
_LIBBPF = re.compile(r"\blibbpf: .*(?:fail|error|invalid|unable|incompatible|not found|not supported)", re.IGNORECASE)
_VERIFIED = re.compile(r"(?:^|[:\s])processed \d+ insns ")
# What UEI_REPORT of a scheduler in C prints of why it was ended (tools/sched_ext/include/scx/user_exit_info.h), behind
# the kernel's dump.
_EXIT = re.compile(r"EXIT: \S")


def plain(text: str) -> str:
    """A log without terminal escapes, its lines kept."""
    return _ESCAPES.sub("", text)


def clean(line: str) -> str:
    """One line without control characters, at most LINE_MAX long."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", line)).replace("\t", " ").replace("\n", " ").strip()
    return text if len(text) <= LINE_MAX else text[: LINE_MAX - 1] + "…"


def lines(text: str) -> list[str]:
    """The lines of a log that say something, cleaned: no blank ones, and no rules."""
    return [found for line in text.splitlines() if any(map(str.isalnum, found := clean(line)))]


def last_words(text: str, count: int = 3) -> str:
    """The last non-blank lines of a log, joined by `` | ``; empty when it said nothing."""
    return " | ".join(lines(text)[-count:])


def telling_words(text: str) -> str:
    """Of a program that was not loaded: libbpf's first complaints, the verifier's reason, and its last words; or why
    the kernel ended it, in one line that is a scheduler's last."""
    found = lines(text)
    if found and _EXIT.match(found[-1]):
        return found[-1]
    complaints = [line for line in found if _LIBBPF.search(line)][:2]
    reasons = [before for before, line in itertools.pairwise(found) if _VERIFIED.search(line)][-1:]
    return " | ".join(dict.fromkeys([*complaints, *reasons, *found[-3:]]))


def verifier_words(text: str, count: int = 3) -> str:
    """The end of a log of bpf(2): the verifier's reason and the instruction before it, without its own counts."""
    found = lines(text)
    counts = next((place for place, line in enumerate(found) if _VERIFIED.search(line)), len(found))
    return " | ".join(" ".join(line.split()) for line in found[:counts][-count:])


def refusal(found: Refusal, count: int) -> str:
    """What the kernel refused a loader, and the last so many lines of why."""
    what = f"{found.command or 'a call'}{f' of {clean(found.name)}' if found.name else ''}"
    words = verifier_words(found.text, count)
    return f"the kernel refused {what} ({os.strerror(found.error)}){f': {words}' if words else ''}"
