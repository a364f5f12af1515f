"""An emulator's process: it never outlives the thread that started it, whatever happens to this program.

It runs in a session of its own, so a Ctrl-C on the terminal reaches us alone (see also ``host.tether``).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.host import tether
from ktstr.vm.moments import Given
from ktstr.vm.procfs import VcpuTimes, peak_memory_kib, thread_times
from ktstr.vm.watch import TICK_S, Ended, Limits, Usage, Watch

_SAMPLE_S = 0.5
_FILE_SLACK = 16 << 20  # bytes; the kernel's own limit, should a file grow fast between two looks


@dataclass(frozen=True)
class Command:
    """What to start: ``argv`` with our own environment and ``env`` added to it; its stdout and stderr go to ``output``.

    ``descriptors`` it inherits, under the same numbers; none may be 0, 1 or 2 (``above_standard``). ``vcpu_threads`` is
    what the names of the threads begin with whose run time and run delay make ``Usage.dilation``.
    """

    argv: Sequence[str]
    output: Path
    env: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()
    vcpu_threads: str | None = None


def supervise(command: Command, limits: Limits, cancel: Cancel) -> Ended:
    """Run a command to its end, blocking. Raises HostError when no process can be started at all."""
    with Watch(lambda: Process(command, limits), limits, cancel) as watch:
        return watch.wait()


class Process:
    """A child, started by the thread that will watch it. No file that it writes grows much beyond the largest limit.

    Raises HostError when no process can be started at all; a program that is not there is one that exits with 127.
    """

    def __init__(self, command: Command, limits: Limits) -> None:
        self.pid = _spawn(command, max((cap for _, cap in limits.files), default=0) + _FILE_SLACK)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as err:
            self._kill()
            self._reap()
            raise HostError(f"pidfd_open: {err.strerror}", fix="use Linux 5.3 or newer") from err
        self._lock = threading.Lock()  # of the descriptor and of the process that it names
        self._prefix = command.vcpu_threads
        self._times = VcpuTimes(self.pid, command.vcpu_threads)
        self._peak_kib: int | None = None
        self._sample_at = time.monotonic() + TICK_S

    def fileno(self) -> int:
        return self._pidfd

    def look(self) -> float:
        now = time.monotonic()
        if now >= self._sample_at:
            self._sample_at = now + _SAMPLE_S
            self._peak_kib = peak_memory_kib(self.pid) or self._peak_kib
            self._times.sample()
        return TICK_S

    def end(self) -> Usage:
        """Kill it if it still runs, and reap it."""
        try:
            if not self._has_ended():
                self._kill()
            return Usage(self._reap(), self._peak_kib, self._times.dilation())
        finally:
            with self._lock:
                os.close(self._pidfd)
                self._pidfd = -1

    def vcpus(self, cpus: int) -> tuple[Given, ...] | None:
        """What the thread of each vCPU had of the host so far, from any thread; None unless that is known of all. Only
        of a process whose ``vcpu_threads`` were named."""
        if self._prefix is None:
            return None
        times = thread_times(self.pid, self._prefix)
        return tuple(Given(*times[number]) for number in sorted(times)) if len(times) == cpus else None

    def nudge(self) -> None:
        """Send SIGTERM, from any thread. QEMU 10.0 that exits while a QMP command comes in can wait for the command's
        coroutine in a poll that nothing ends (monitor_cleanup); the signal's handler wakes it, and it exits as it
        was about to, with the same status."""
        with self._lock, suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def _has_ended(self) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _reap(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _spawn(command: Command, file_limit: int) -> int:
    argv = [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), str(file_limit), *command.argv]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(command.output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        # Onto itself: in the child alone, it is no longer closed by exec (posix_spawn_file_actions_adddup2(3)).
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in command.descriptors),
    ]
    defaults = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD]
    try:
        return os.posix_spawn(
            sys.executable, argv, {**os.environ, **command.env}, file_actions=actions, setsid=True,
            setsigdef=defaults, setsigmask=[],
        )  # fmt: skip
    except OSError as err:
        raise HostError(f"{sys.executable}: cannot be started: {err.strerror}") from err
