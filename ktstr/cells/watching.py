"""Watching a guest while it runs: its runqueues are read at each of its moments, and nothing is judged.

What cannot be watched (a kernel without BTF or symbols) runs all the same, and its record says why it was not watched.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ktstr.cells.inspecting import kernel_of
from ktstr.errors import HostError
from ktstr.introspect.addresses import Addresses, NotUp
from ktstr.introspect.members import Members
from ktstr.introspect.sampling import Layout, Sampler, Unreadable
from ktstr.kernels.cache import Corrupt, read_entry
from ktstr.kernels.symbols import Symbols
from ktstr.record.guest import GuestRecord
from ktstr.record.samples import MAX_CPU_SAMPLES, MonitorRecord, MonitorSample, TaskName
from ktstr.vm.machine import Guest
from ktstr.vm.moments import Moment

_NS = 1_000_000_000
_BEFORE = 2  # samples that are kept of what was before the scenario began
_UNBEGUN = 64  # that are kept, the last, of a scenario that never began
# What is told of each moment while the machine stands still (``Guest.moments``); None: it could not be read.
Look = Callable[[Moment, MonitorSample | None], None]


@dataclass(frozen=True)
class Eyes:
    """What is known of a kernel before one of its guests is looked at; ``hz`` as its configuration has it."""

    layout: Layout
    symbols: Symbols
    hz: int | None


@dataclass(frozen=True)
class Blind:
    """Why guests of a kernel cannot be watched."""

    why: str


@lru_cache(maxsize=4)
def eyes_for(folder: Path) -> Eyes | Blind:
    """What is known of the kernel whose cache entry is in ``folder``; the caller holds its lock. Found out once."""
    try:
        entry = read_entry(folder)
        kernel = kernel_of(folder)
        return Eyes(Layout.of(Members(kernel.btf)), kernel.symbols, entry.hz)
    except HostError as err:
        return Blind(err.message)
    except (Unreadable, Corrupt) as err:
        return Blind(str(err))


@dataclass(frozen=True)
class Seen:
    """All that was seen of one guest, from its first moment to its last. ``begun_ns``: by the moments' clock, when its
    scenario was heard to begin; None when it was not."""

    samples: tuple[MonitorSample, ...]
    tasks: tuple[TaskName, ...]
    begun_ns: int | None
    unwatched: str | None
    cost_s: float


def follow(guest: Guest, eyes: Eyes, cpus: int, look: Look | None = None) -> Seen:
    """Follow a guest that was started as watched to its end, blocking. ``look`` is called at each moment, before the
    guest goes on. Whatever its memory says, nothing is raised but what ``look`` raises."""
    taken = _Taken(Sampler(Addresses(guest.memory, eyes.symbols), eyes.layout, cpus, eyes.hz), MAX_CPU_SAMPLES // cpus)
    beginning = _Beginning()
    listener = threading.Thread(target=beginning.listen, args=(guest,), name="beginning", daemon=True)
    listener.start()
    for moment in guest.moments():
        beginning.note(moment)
        sample = taken.take(moment)
        if look is not None:
            look(moment, sample)
    listener.join()
    return Seen(tuple(taken.samples), taken.sampler.tasks, beginning.at_ns, taken.unwatched, taken.cost_s)


class _Taken:
    """The samples of one run, at most so many."""

    def __init__(self, sampler: Sampler, most: int) -> None:
        self.sampler, self._most = sampler, most
        self.samples: list[MonitorSample] = []
        self.unwatched: str | None = None
        self.cost_s = 0.0
        self._is_over = False

    def take(self, moment: Moment) -> MonitorSample | None:
        if self._is_over:
            return None
        started = time.perf_counter()
        try:
            sample = self.sampler.sample(moment.at_ns, moment.vcpus)
        except NotUp as err:
            if not self.samples:
                self.unwatched = str(err)
            return None
        except ValueError as err:  # Unreadable, BadAddress, BadBtf, NoMember: so it will stay
            self._end(str(err))
            return None
        self.cost_s += time.perf_counter() - started
        if len(self.samples) == self._most:
            self._end(f"the run was longer than {self._most} samples")
            return None
        self.unwatched = None
        self.samples.append(sample)
        return sample

    def _end(self, why: str) -> None:
        self.unwatched, self._is_over = why, True


class _Beginning:
    """When the scenario was heard to begin, by the clock of the moments. For guests in real time: good to some ms."""

    def __init__(self) -> None:
        self._heard: float | None = None
        self._offset_ns: int | None = None  # of the moments' clock to time.monotonic

    def listen(self, guest: Guest) -> None:
        from ktstr.vm.protocol import lib

        for frame in guest.frames():
            if frame.type == lib.KTSTR_MSG_BEGIN:
                self._heard = time.monotonic()
                return

    def note(self, moment: Moment) -> None:
        self._offset_ns = moment.at_ns - round(time.monotonic() * _NS)

    @property
    def at_ns(self) -> int | None:
        if self._heard is None or self._offset_ns is None:
            return None
        return max(0, round(self._heard * _NS) + self._offset_ns)


def record(seen: Seen | Blind, guest: GuestRecord, accel: str) -> MonitorRecord:
    """What is kept of a run: its scenario's samples, and the last few before it."""
    if isinstance(seen, Blind):
        return MonitorRecord(samples=(), tasks=(), begin_ns=None, unwatched=seen.why, cost_s=None)
    begin = guest.begin_tsc if accel == "icount" else seen.begun_ns
    before = sum(sample.at_ns < begin for sample in seen.samples) if begin is not None else len(seen.samples) - _UNBEGUN
    return MonitorRecord(
        samples=seen.samples[max(0, before - _BEFORE) :],
        tasks=seen.tasks,
        begin_ns=begin,
        unwatched=seen.unwatched,
        cost_s=seen.cost_s,
    )
