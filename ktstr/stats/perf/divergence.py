"""The first event in which two runs of one seed differ: where a changed scheduler took another way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from ktstr.record.guest import GuestRecord
from ktstr.stats.perf.result import Divergence

MS = 1_000_000
NOTHING = "nothing more"


@dataclass(frozen=True, order=True)
class Event:
    """Something a guest reported. ``at_ns``: since the workers' release."""

    at_ns: int
    text: str


def events(record: GuestRecord) -> list[Event]:
    """What happened from the release of the workers on, by time: steps, migrations, and the scheduler's own end.

    Loading is left out: it takes as long as the binary is large, and says nothing of scheduling.
    """
    release = next((stimulus.at_ns for stimulus in record.stimuli if stimulus.op == "Release"), None)
    if release is None:
        return []
    steps = (
        Event(stimulus.at_ns - release, f"{stimulus.op} after {stimulus.total_iterations} iterations")
        for stimulus in record.stimuli
    )
    ends = (Event(event.at_ns - release, f"scheduler {event.kind}") for event in record.sched_events)
    moves = (
        Event(move.at_ns, f"worker {worker.index} moves from CPU {move.from_cpu} to {move.to_cpu}")
        for worker in record.workers
        for move in worker.migrations
    )
    return sorted(event for event in (*steps, *ends, *moves) if event.at_ns >= 0)


def first_divergence(cell: str, a: GuestRecord, b: GuestRecord) -> Divergence | None:
    """Where the events of two runs part; None where they are the same, or one of them released no worker."""
    ours, theirs = events(a), events(b)
    if not ours or not theirs:
        return None
    for one, other in zip_longest(ours, theirs):
        if one != other:
            at = min(event.at_ns for event in (one, other) if event is not None)
            return Divergence(cell, at / MS, _text(one), _text(other))
    return None


def _text(event: Event | None) -> str:
    return NOTHING if event is None else f"{event.at_ns / MS:.3f} ms: {event.text}"
