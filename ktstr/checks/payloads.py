"""What payloads did: how they ended, the numbers that they printed, and whether both are as declared.

One entry of the program's table is one payload, which may run several times; what it printed in all its runs is one
text. A payload that is ended with its step, or by ``kill``, has no exit code of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from ktstr.checks import quote
from ktstr.checks.printed import NONE, Numbers, matched, numbers
from ktstr.checks.verdict import Detail, Verdict
from ktstr.config.model import PayloadCheck, PayloadDecl
from ktstr.config.model import PayloadMetric as Hint
from ktstr.record.guest import GuestRecord, PayloadEvent, Stream
from ktstr.record.sidecar import TRUNCATED, PayloadMetric, PayloadMetrics, TargetValue

Source: TypeAlias = Literal["Json", "Text"]
Output: TypeAlias = Literal["Stdout", "Stderr"]

SIGNALED = -1  # the exit code of a program that a signal ended
MAX_METRICS = 10_000  # of one payload in a sidecar; all are judged
_TAIL_BYTES = 1024
_DROPPED = "bytes dropped ...]\n"
_POLARITY: dict[str, Literal["HigherBetter", "LowerBetter", "Unknown"]] = {
    "higher": "HigherBetter", "lower": "LowerBetter", "unknown": "Unknown",
}  # fmt: skip


@dataclass(frozen=True)
class Payload:
    """A payload as declared, with what the guest said of it. ``index``: its place in the program's table."""

    index: int
    declared: PayloadDecl
    events: tuple[PayloadEvent, ...]
    output: str
    errors: str

    @property
    def runs(self) -> int:
        return sum(event.kind == "started" for event in self.events)

    @property
    def ends(self) -> tuple[PayloadEvent, ...]:
        """How its runs ended by themselves."""
        return tuple(event for event in self.events if event.kind in ("exited", "signaled"))

    @property
    def was_killed(self) -> bool:
        """Whether its last run was ended for it."""
        return any(event.kind == "killed" for event in self.events[-1:])

    @cached_property
    def _printed(self) -> tuple[Output, Numbers]:
        """Where its numbers are from: standard error only if there are none in the output."""
        found = self._read(self.output)
        if found.values or self.declared.output == "exit_code":
            return "Stdout", found
        return "Stderr", self._read(self.errors)

    def _read(self, text: str) -> Numbers:
        if self.declared.output == "text":
            return matched(text, self.declared.metrics)
        return numbers(text) if self.declared.output == "json" else NONE

    @property
    def numbers(self) -> Numbers:
        return self._printed[1]

    def results(self) -> PayloadMetrics:
        """What the sidecar says of it."""
        stream, found = self._printed
        hints = {hint.name: hint for hint in self.declared.metrics}
        wanted = {*hints, *(check.metric for check in self.declared.checks)}
        first = dict.fromkeys((*(name for name in found.values if name in wanted), *found.values))
        kept = set(list(first)[:MAX_METRICS])
        names = [name for name in found.values if name in kept]
        source: Source = "Text" if self.declared.output == "text" else "Json"
        metrics = [_metric(name, found.values[name], hints.get(name), source, stream) for name in names]
        if found.too_deep:
            metrics.append(PayloadMetric(TRUNCATED, 1.0, "Unknown", "", "Json", stream))
        code = _exit_code(self.ends[-1]) if self.ends else None
        return PayloadMetrics(self.index, code, tuple(metrics), self.declared.name)


def _metric(name: str, value: float, hint: Hint | None, source: Source, stream: Output) -> PayloadMetric:
    if hint is None:
        return PayloadMetric(name, value, "Unknown", "", source, stream)
    best = TargetValue(hint.target) if hint.target is not None else _POLARITY[hint.polarity]
    return PayloadMetric(name, value, best, hint.unit, source, stream)


def gather_payloads(declared: Mapping[int, PayloadDecl], guest: GuestRecord) -> tuple[Payload, ...]:
    """The payloads of a run. ``declared``: by place in the program's table; a scheduler in it is none."""
    return tuple(
        Payload(
            index,
            one,
            tuple(event for event in guest.payload_events or () if event.payload == index),
            _log(guest, index, "stdout"),
            _log(guest, index, "stderr"),
        )
        for index, one in sorted(declared.items())
    )


def _log(guest: GuestRecord, index: int, stream: Stream) -> str:
    return "".join(log.text for log in guest.payload_logs or () if (log.payload, log.stream) == (index, stream))


def printed(declared: Mapping[int, PayloadDecl], guest: GuestRecord) -> str:
    """All that payloads printed, for people to read: each text below a line that says whose it is; empty for none."""
    payloads = gather_payloads(declared, guest)
    texts = [
        (f"{payload.declared.name} ({payload.index}), {stream}", quote.plain(text))
        for payload in payloads
        for stream, text in (("standard output", payload.output), ("standard error", payload.errors))
        if text
    ]
    return "".join(f"==> {whose} <==\n{text}{'' if text.endswith(chr(10)) else chr(10)}" for whose, text in texts)


def judge_payloads(payloads: Iterable[Payload], accel: str, *, whole: bool = True) -> list[Detail]:
    """What is not as declared. ``whole``: the scenario ran to its end; else what did not come to pass is no fault."""
    return [detail for payload in payloads for detail in _judged(payload, accel, whole)]


def _judged(payload: Payload, accel: str, whole: bool) -> Iterator[Detail]:
    name = payload.declared.name
    failed = next((event for event in payload.events if event.kind == "spawn_failed"), None)
    if failed is not None:
        what = f"payload {name}: its program could not be started in the guest ({os.strerror(failed.code)})"
        yield Detail(Verdict.INCONCLUSIVE, "Payload", what)
        return
    if not payload.runs:
        if whole:
            yield Detail(Verdict.INCONCLUSIVE, "Payload", f"payload {name}: was never started")
        return
    wrong = next((event for event in payload.ends if _is_wrong(payload.declared, event)), None)
    if wrong is not None:
        yield _wrong_end(payload, wrong)
        return
    if any(event.kind == "timed_out" for event in payload.events):
        yield _timed_out(name, accel)
    if whole or payload.ends:
        yield from (detail for check in payload.declared.checks if (detail := _checked(payload, check)) is not None)


def _exit_code(end: PayloadEvent) -> int:
    return SIGNALED if end.kind == "signaled" else end.code


def _is_wrong(declared: PayloadDecl, end: PayloadEvent) -> bool:
    return declared.exit_code is not None and _exit_code(end) != declared.exit_code


def _wrong_end(payload: Payload, end: PayloadEvent) -> Detail:
    how = f"was ended by {_signal(end.code)}" if end.kind == "signaled" else f"exited with {end.code}"
    tail = payload.errors.encode("utf-8", "replace")[-_TAIL_BYTES:].decode("utf-8", "ignore")
    words = " | ".join(quote.lines(tail))
    what = f"payload {payload.declared.name}: {how}, expected exit code {payload.declared.exit_code}"
    what += f"; it said: {words}" if words else "; it said nothing on standard error"
    limit = payload.declared.exit_code
    return Detail(Verdict.FAIL, "Payload", what, value=_exit_code(end), limit=None if limit is None else float(limit))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _timed_out(name: str, accel: str) -> Detail:
    """With a thread per vCPU the guest's clock follows a host that may be slow."""
    what = f"payload {name}: still ran when the wait for its end was over"
    if accel == "tcg":
        return Detail(Verdict.INCONCLUSIVE, "Payload", f"{what}; under tcg a slow host can be the cause")
    return Detail(Verdict.FAIL, "Payload", what)


def _checked(payload: Payload, check: PayloadCheck) -> Detail | None:
    value = payload.numbers.values.get(check.metric)
    if value is None:
        return _missing(payload, check.metric)
    if check.low is not None and value < check.low:
        return _outside(payload, check, value, check.low)
    if check.high is not None and value > check.high:
        return _outside(payload, check, value, check.high)
    return None


def _missing(payload: Payload, metric: str) -> Detail:
    """Of one that had the time to print it, a failure."""
    what = f"payload {payload.declared.name}: printed no number {metric}"
    if payload.numbers.too_deep:
        what += "; what it printed is nested too deeply to be read whole"
    if payload.output.endswith(_DROPPED):
        what += "; of its output only the begin was kept"
    if payload.was_killed or not payload.ends:
        return Detail(Verdict.INCONCLUSIVE, "Payload", f"{what}; it was ended before it was done")
    return Detail(Verdict.FAIL, "Payload", what)


def _outside(payload: Payload, check: PayloadCheck, value: float, limit: float) -> Detail:
    what = f"payload {payload.declared.name}: {check.metric} is {_words(value)}, expected {_range(check)}"
    hint = next((hint for hint in payload.declared.metrics if hint.name == check.metric and hint.unit), None)
    what += f" {hint.unit}" if hint is not None else ""
    return Detail(Verdict.FAIL, "Payload", what, value=value, limit=limit)


def _range(check: PayloadCheck) -> str:
    low = None if check.low is None else _words(check.low)
    high = None if check.high is None else _words(check.high)
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


def _words(value: float) -> str:
    """A number with no digit lost, and none too many."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
