"""Moments at which a guest that runs is looked at.

Under counted instructions they are whole multiples of 100 ms of the guest's own time, and the machine stands still
while it is looked at (``vmm_c/qemu/moments.c``): what is seen is the same in each run. In real time they come 10 times
a second of the host's, more seldom where a look takes long, and the guest goes on meanwhile.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ktstr.vm.descriptors import above_standard

PERIOD_S = 0.1
ENVIRONMENT = "KTSTR_MOMENTS"  # to the emulator: the descriptor of its end
_GO_ON, _REGISTERS = b"\1", b"\2"
_MAX_TEXT = 64 << 10  # bytes of one vCPU's registers; they are 2 KiB
_REST = 19  # as long as a look took
_MOST_REST_S = 2.0
_NS = 1_000_000_000


@dataclass(frozen=True)
class Given:
    """How long a vCPU's thread ran on a host CPU so far, and was runnable and waited for one, in ns."""

    run_ns: int
    wait_ns: int


@dataclass(frozen=True)
class Moment:
    """``at_ns``: guest time since it was switched on, under counted instructions; else host time since the start.

    ``vcpus``: what each vCPU's thread has had of the host; None where that says nothing (vCPUs that take turns on one
    thread and one clock) or was not read.
    """

    at_ns: int
    vcpus: tuple[Given, ...] | None = None


class Gate:
    """Both ends of what an emulator waits at. Raises OSError."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours = ours
        self._is_held = False
        self._lock = threading.Lock()
        self.theirs = socket.socket(fileno=above_standard(theirs.detach()))

    def moments(self) -> Iterator[Moment]:
        """Each moment; the machine goes on when the next one is asked for, and for good when none is any more. Ends
        with the emulator. Raises nothing of the emulator's."""
        with self._ours:
            while len(token := self._received(16)) == 8:
                self._is_held = True
                try:
                    yield Moment(int.from_bytes(token, "little", signed=True))
                finally:
                    with self._lock:
                        self._is_held = False
                if not self._sent(_GO_ON):
                    return

    def registers(self, cpus: int) -> str | None:
        """Those of each vCPU while the machine stands still, as QEMU's monitor prints them; None when it does not."""
        with self._lock:
            if not self._is_held or not self._sent(_REGISTERS):
                return None
            texts = [self._received(_MAX_TEXT).decode("ascii", "replace") for _ in range(cpus)]
        return "".join(f"\nCPU#{cpu}\n{text}" for cpu, text in enumerate(texts))

    def _sent(self, wish: bytes) -> bool:
        try:
            return self._ours.send(wish) == len(wish)
        except OSError:
            return False

    def _received(self, size: int) -> bytes:
        try:
            return self._ours.recv(size)
        except OSError:
            return b""

    def inherited(self) -> None:
        """Give back the emulator's end, once it has its own."""
        self.theirs.close()

    def close(self) -> None:
        """The emulator goes on, and is not looked at. Twice is once."""
        self._ours.close()
        self.theirs.close()


def in_real_time(
    started: float, ends_within: Callable[[float], bool], given: Callable[[], tuple[Given, ...] | None]
) -> Iterator[Moment]:
    """A moment every ``PERIOD_S`` of the host's; one that was missed is not made up for. ``started`` is of
    ``time.monotonic``; ends with the guest.

    On a host where a look takes long they are further apart, so that looking takes at most a twentieth of a CPU: the
    guest needs it. The first look, which reads what stays as it is, is not counted.
    """
    due = time.monotonic()
    is_first = True
    while not ends_within(max(0.0, due - time.monotonic())):
        now = time.monotonic()
        yield Moment(round((now - started) * _NS), given())
        seen = time.monotonic()
        rest = 0.0 if is_first else min(_REST * (seen - now), _MOST_REST_S)
        due, is_first = max(due + PERIOD_S, seen + rest), False
