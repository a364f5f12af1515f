"""The verifier's log, as loaders print it: of which program it is, why that was refused, and what checking cost."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ktstr.checks import quote
from ktstr.checks.verifier.cycles import collapse
from ktstr.record.verification import LogStats

LIMIT = 1_000_000
"""Instructions that the verifier walks before it gives up (BPF_COMPLEXITY_LIMIT_INSNS, include/linux/bpf.h)."""
WARN_PCT = 75
_BEGIN, _END = "-- BEGIN PROG LOAD LOG --", "-- END PROG LOAD LOG --"
_NAMED = re.compile(r"prog '([^']{1,128})'")
_PROCESSED = re.compile(r"^processed (\d{1,12}) insns\b.*?total_states (\d{1,9}) peak_states (\d{1,9})")
_TIME = re.compile(r"^verification time (\d{1,15}) usec")
_STACK = re.compile(r"^stack depth (\S{1,80})")


@dataclass(frozen=True)
class Refused:
    """A program's log. ``program``: None where the loader does not name it; ``reason``: the verifier's last words."""

    program: str | None
    reason: str
    lines: tuple[str, ...]
    stats: LogStats


def refused_in(log: str) -> Refused | None:
    """The first program of a loader's log that was refused; None when the log has no verifier's words."""
    lines = [quote.plain(line).rstrip() for line in log.splitlines()]
    begin = next((at for at, line in enumerate(lines) if _BEGIN in line), None)
    if begin is None:
        return None
    end = next((at for at in range(begin, len(lines)) if _END in lines[at]), len(lines))
    body = lines[begin + 1 : end]
    name = _NAMED.search(lines[begin])
    return Refused(None if name is None else name[1], _reason(body), tuple(body), stats_in(body))


def stats_in(lines: list[str]) -> LogStats:
    """What the last lines of a log count."""
    processed = time_us = stack = None
    for line in reversed(lines):
        processed = processed or _PROCESSED.match(line)
        time_us = time_us or _TIME.match(line)
        stack = stack or _STACK.match(line)
    return LogStats(
        processed_insns=None if processed is None else int(processed[1]),
        total_states=None if processed is None else int(processed[2]),
        peak_states=None if processed is None else int(processed[3]),
        time_us=None if time_us is None else int(time_us[1]),
        stack_depth=None if stack is None else stack[1],
    )


def _reason(lines: list[str]) -> str:
    """The line before the verifier's counts; without counts, the last one."""
    counts = ("processed ", "verification time ", "stack depth ")
    told = [line for line in lines if line.strip() and not line.startswith(counts)]
    return quote.clean(told[-1]) if told else "the verifier gave no reason"


def shown(lines: tuple[str, ...], *, raw: bool) -> list[str]:
    """A log as it is shown: its rounds collapsed, or ``raw``."""
    return list(lines) if raw else collapse(lines)
