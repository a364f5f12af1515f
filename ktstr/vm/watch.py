"""The one loop that watches a machine from its start to its end, whatever runs it.

It ends a machine that is cancelled or killed, past its deadline, that floods a file, or whose guest is dead and does
not end by itself. Nothing is decided here about the guest: ``ending`` does that.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from ktstr.cancel import Cancel

Stop: TypeAlias = Literal["cancelled", "killed", "timeout", "flood", "dead"]

TICK_S = 0.1  # how often a machine is looked at; its end, a cancel and the deadline are noticed at once
DEAD_GRACE_S = 10.0  # for a guest that is dead to reset its machine
_DEAD_LOOK_S = 0.5


@dataclass(frozen=True)
class Limits:
    """``seconds`` of host time, and how many bytes each watched file may grow to.

    ``is_dead`` says that the guest will never end by itself; it then has ``DEAD_GRACE_S`` left.
    """

    seconds: float
    files: tuple[tuple[Path, int], ...] = ()
    is_dead: Callable[[], bool] = lambda: False

    def flooded(self) -> Path | None:
        """The first watched file that is larger than it may be."""
        return next((path for path, cap in self.files if _size(path) > cap), None)


@dataclass(frozen=True)
class Usage:
    """What a machine took of the host. ``status``: its process's exit code, or minus the signal that killed it; 0 for
    a machine without one. ``peak_kib`` (resident memory) and ``dilation`` (1 + run delay / run time of the vCPUs'
    threads) are None when they were not measured.
    """

    status: int
    peak_kib: int | None
    dilation: float | None


@dataclass(frozen=True)
class Ended:
    """How a machine ended. ``status``, ``peak_kib`` and ``dilation`` are those of ``Usage``.

    ``stopped``: why we ended it, None when it ended by itself; ``flooded`` the file that grew beyond its limit;
    ``seconds`` of host time from its start to its end.
    """

    status: int
    stopped: Stop | None
    flooded: Path | None
    seconds: float
    peak_kib: int | None
    dilation: float | None


class Watched(Protocol):
    """A machine that runs. Only the thread that watches it calls these."""

    def fileno(self) -> int:
        """A descriptor that is readable once the machine has ended."""
        ...

    def look(self) -> float:
        """Take what measures are due; gives in how many seconds to look again."""
        ...

    def end(self) -> Usage:
        """Make it end if it has not. From the return on, nothing of it runs."""
        ...


M = TypeVar("M", bound=Watched)


class Watch(Generic[M]):
    """A machine, and the thread that starts and watches it. As a context it leaves no machine running.

    ``begin`` starts the machine on that thread: a process dies with the thread that started it (``host.tether``), and
    threads stay on the CPUs of the one that made them, here ``cpus`` unless None. ``started`` is of
    ``time.monotonic``: the deadline counts from there. Raises what ``begin`` raises.
    """

    def __init__(
        self, begin: Callable[[], M], limits: Limits, cancel: Cancel, cpus: Collection[int] | None = None
    ) -> None:
        self._begin, self._limits, self._cancel, self._cpus = begin, limits, cancel, cpus
        self._kill = Cancel()
        self._begun = threading.Event()
        self._over = threading.Event()  # not Thread.join: interrupted, it counts the thread as ended (Python 3.11)
        self._machine: M | None = None
        self._ended: Ended | None = None
        self._error: BaseException | None = None
        self.started = time.monotonic()
        threading.Thread(target=self._run, name="watch", daemon=True).start()
        try:
            self._begun.wait()
        except BaseException:
            self.close()
            raise
        if self._machine is None:
            self.wait()

    @property
    def machine(self) -> M:
        """What ``begin`` gave."""
        assert self._machine is not None
        return self._machine

    def wait(self) -> Ended:
        """Block until the machine has ended. Raises what the watching raised."""
        self._over.wait()
        if self._error is not None:
            raise self._error
        assert self._ended is not None
        return self._ended

    def ends_within(self, seconds: float) -> bool:
        """Block until the machine has ended, but no longer than this; whether it has. Raises nothing."""
        return self._over.wait(seconds)

    def kill(self) -> None:
        """Ask for the end; ``wait`` says when."""
        self._kill.set()

    def close(self) -> None:
        """Kill the machine if it still runs, and wait for its end. Raises nothing."""
        self.kill()
        self._over.wait()

    def __enter__(self) -> Watch[M]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            if self._cpus is not None:
                os.sched_setaffinity(0, self._cpus)
            self._machine = self._begin()
            self._begun.set()
            self._ended = self._to_the_end(self._machine)
        except BaseException as err:  # handed to whoever waits
            self._error = err
        finally:
            self._begun.set()
            self._over.set()

    def _to_the_end(self, machine: M) -> Ended:
        try:
            stopped = self._why_stop(machine, self.started + self._limits.seconds)
        finally:
            usage = machine.end()
        flooded = self._limits.flooded()
        if stopped is None and flooded is not None:
            stopped = "flood"
        seconds = time.monotonic() - self.started
        return Ended(usage.status, stopped, flooded, seconds, usage.peak_kib, usage.dilation)

    def _why_stop(self, machine: M, deadline: float) -> Stop | None:
        """Block until the machine has ended by itself (None) or has to be stopped."""
        dead = _Dead(self._limits.is_dead)
        while True:
            pause = min(machine.look(), deadline - time.monotonic())
            if _readable(machine, pause, (self._cancel, self._kill)):
                return None
            if self._kill.is_set():
                return "killed"
            if self._cancel.is_set():
                return "cancelled"
            if time.monotonic() >= deadline:
                return "timeout"
            if self._limits.flooded() is not None:
                return "flood"
            if dead.for_too_long():
                return "dead"


class _Dead:
    """How long a guest has been dead."""

    def __init__(self, is_dead: Callable[[], bool]) -> None:
        self._is_dead = is_dead
        self._look_at = 0.0
        self._since: float | None = None

    def for_too_long(self) -> bool:
        now = time.monotonic()
        if self._since is None and now >= self._look_at:
            self._look_at = now + _DEAD_LOOK_S
            self._since = now if self._is_dead() else None
        return self._since is not None and now - self._since >= DEAD_GRACE_S


def _readable(machine: Watched, seconds: float, others: tuple[Cancel, ...]) -> bool:
    """Whether the machine has ended, after at most this long, or less when one of the others is set."""
    poll = select.poll()
    for fd in (machine.fileno(), *(other.fileno() for other in others)):
        poll.register(fd, select.POLLIN)
    return any(fd == machine.fileno() for fd, _ in poll.poll(max(0.0, seconds * 1000)))


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
