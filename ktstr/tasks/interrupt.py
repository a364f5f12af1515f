"""SIGINT and SIGTERM: the first ends what runs, a second one leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from ktstr.cancel import Cancel

_ONE_PRESS_S = 0.5
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Takes the two signals over for this process and turns them into ``cancel``."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel, self._at = cancel, 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
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


def children_may_start() -> None:
    """Import now what the handler needs then: it must not import. A run with nothing to do starts no child."""
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
