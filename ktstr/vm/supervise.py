"""Running one emulator process to its end, whatever happens: it never outlives the call.

The thread that calls ``supervise`` blocks until the process is gone and reaped; the process dies
with that thread (see ``tether``), also when this program is killed with SIGKILL. It runs in a
session of its own, so a Ctrl-C on the terminal reaches us alone. Nothing is decided here about
the guest: ``ending`` does that.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ktstr.errors import HostError
from ktstr.host import tether
from ktstr.vm.procfs import VcpuTimes, peak_memory_kib

Stop: TypeAlias = Literal["cancelled", "timeout", "flood", "dead"]

TICK_MS = 100  # how often sizes, deadline and cancel are looked at; the end itself is noticed at once
_SAMPLE_TICKS = 5
DEAD_GRACE_S = 10.0  # for a guest that is dead to reset its machine
_FILE_SLACK = 16 << 20  # bytes; the kernel's own limit, should a file grow fast between two looks


@dataclass(frozen=True)
class Limits:
    """``seconds`` of host time, and how many bytes each watched file may grow to.

    ``is_dead`` says that the guest will never end by itself; it then has ``DEAD_GRACE_S`` left.
    """

    seconds: float
    files: tuple[tuple[Path, int], ...] = ()
    is_dead: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Ended:
    """How a process ended. ``status`` is its exit code, or minus the signal that killed it.

    ``stopped``: why we killed it, None when it ended by itself; ``flooded`` the file that grew
    beyond its limit. ``peak_kib`` (resident memory) and ``dilation`` are None when the process
    ended before a first look, ``dilation`` also when no thread was to be watched.
    """

    status: int
    stopped: Stop | None
    flooded: Path | None
    seconds: float
    peak_kib: int | None
    dilation: float | None


def supervise(
    argv: Sequence[str],
    env: Mapping[str, str],
    output: Path,
    limits: Limits,
    cancel: threading.Event,
    vcpu_threads: str | None = None,
) -> Ended:
    """Run ``argv`` to its end; its stdout and stderr go to ``output``.

    ``env`` is added to our own environment. ``vcpu_threads`` is what the names of the threads
    begin with whose run time and run delay make ``dilation``. Raises HostError when no process
    can be started at all.
    """
    started = time.monotonic()
    process = _start(argv, env, output, limits)
    watch = _Watch(process, limits, started + limits.seconds, vcpu_threads)
    try:
        stopped = watch.until_end(cancel)
    finally:
        status = process.end()
    flooded = watch.flooded_file()
    if stopped is None and flooded is not None:
        stopped = "flood"
    return Ended(status, stopped, flooded, time.monotonic() - started, watch.peak_kib, watch.times.dilation())


class _Process:
    """A child and its pidfd; ``end`` may be called at any time and makes sure that it is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError as err:
            self._reap(kill=True)
            raise HostError(f"pidfd_open: {err.strerror}", fix="use Linux 5.3 or newer") from err
        self._poll = select.poll()
        self._poll.register(self._pidfd, select.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        """Whether it has ended, after at most this long."""
        return bool(self._poll.poll(milliseconds))

    def end(self) -> int:
        """Kill it if it still runs, reap it, and give its exit code or minus its signal."""
        try:
            return self._reap(kill=not self.wait(0))
        finally:
            os.close(self._pidfd)

    def _reap(self, *, kill: bool) -> int:
        if kill:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        while True:
            try:
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except KeyboardInterrupt:
                continue  # it is dying; leaving now would leave a zombie


class _Watch:
    """Looks at a running process once a tick."""

    def __init__(self, process: _Process, limits: Limits, deadline: float, vcpu_threads: str | None) -> None:
        self.peak_kib: int | None = None
        self.times = VcpuTimes(process.pid, vcpu_threads)
        self._process, self._limits, self._deadline = process, limits, deadline
        self._dead_at: float | None = None

    def until_end(self, cancel: threading.Event) -> Stop | None:
        """Block until the process has ended by itself (None) or has to be stopped."""
        tick = 0
        while not self._process.wait(TICK_MS):
            if cancel.is_set():
                return "cancelled"
            if time.monotonic() >= self._deadline:
                return "timeout"
            if self.flooded_file() is not None:
                return "flood"
            if tick % _SAMPLE_TICKS == 0:
                self._sample()
                if self._has_been_dead():
                    return "dead"
            tick += 1
        return None

    def _has_been_dead(self) -> bool:
        if self._dead_at is None and self._limits.is_dead():
            self._dead_at = time.monotonic()
        return self._dead_at is not None and time.monotonic() - self._dead_at >= DEAD_GRACE_S

    def flooded_file(self) -> Path | None:
        """The first watched file that is larger than it may be."""
        return next((path for path, cap in self._limits.files if _size(path) > cap), None)

    def _sample(self) -> None:
        self.peak_kib = peak_memory_kib(self._process.pid) or self.peak_kib
        self.times.sample()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _start(argv: Sequence[str], env: Mapping[str, str], output: Path, limits: Limits) -> _Process:
    most = max((cap for _, cap in limits.files), default=0) + _FILE_SLACK
    command = [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), str(most), *argv]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    defaults = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD]
    try:
        pid = os.posix_spawn(
            sys.executable, command, {**os.environ, **env}, file_actions=actions, setsid=True, setsigdef=defaults,
            setsigmask=[],
        )  # fmt: skip
    except OSError as err:
        raise HostError(f"{sys.executable}: cannot be started: {err.strerror}") from err
    return _Process(pid)
