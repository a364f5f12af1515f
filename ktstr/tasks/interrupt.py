"""SIGINT and SIGTERM: the first ends what runs, a second one leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from ktstr.cancel import Cancel

_ONE_PRESS_S = 0.5
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Takes the two signals over for this process and turns them into ``cancel``.

    On a thread of its own, woken from the C handler: a Python handler runs when the main thread comes back to the
    interpreter, and one that is on its way into a wait comes back when the wait ends (signal(3) before sem_wait(3)).
    """

    def __init__(self, cancel: Cancel) -> None:
        self._cancel, self._at = cancel, 0.0
        self._came, wake = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(wake, False)
        threading.Thread(target=self._listen, name="interrupts", daemon=True).start()
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _taken_elsewhere)

    def _listen(self) -> None:
        while number := os.read(self._came, 1):
            if number[0] in (signal.SIGINT, signal.SIGTERM):
                self._take(number[0])

    def _take(self, number: int) -> None:
        now = time.monotonic()
        if self._cancel.signal and now - self._at > _ONE_PRESS_S:
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)  # a live bar hides it
            os._exit(128 + number)  # asked twice: leave now; children die with us
        if self._cancel.signal:
            return  # timeout(1) and job runners send it to us and to our group
        self._at = now
        self._cancel.set(number)
        os.write(2, b"\ninterrupted: ending what runs\n")  # sys.stderr may be in the middle of a write
        _end_children()


def _taken_elsewhere(number: int, frame: FrameType | None) -> None:
    """A handler there must be, or the signal ends the process."""


def children_may_start() -> None:
    """Import now what ending them needs. A run with nothing to do starts no child."""
    import psutil  # noqa: F401


def _end_children() -> None:
    """Ask fetchers and compilers we started to end; machines end by the cancel."""
    psutil = sys.modules.get("psutil")
    if psutil is None:
        return
    for child in psutil.Process().children(recursive=True):
        try:
            child.terminate()
        except psutil.Error:
            continue
