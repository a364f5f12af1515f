"""The end of a run before its time: set once, by a signal or by whoever owns the run, and seen by every wait.

An eventfd rather than a ``threading.Event``: a signal handler may set it while the thread it interrupts waits
for it, and a loop that watches other descriptors can watch it beside them.
"""

from __future__ import annotations

import os
import select
import weakref

from ktstr.errors import KtstrError


class Cancelled(KtstrError):
    """What was waited for is not wanted any more. No failure: whoever set the cancel knows why."""

    def __init__(self) -> None:
        super().__init__("interrupted")


class Cancel:
    """Whether to stop. ``signal`` is the number of the signal that set it, 0 for none.

    Safe from any thread and from signal handlers. Raises OSError when no descriptor is left.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._set = False
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._fd)

    def set(self, signal: int = 0) -> None:
        """Ask everything that waits or runs to end. The first signal is kept."""
        self.signal = self.signal or signal
        self._set = True
        os.eventfd_write(self._fd, 1)

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, or until it is set; gives whether it is."""
        if not self._set and seconds > 0:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            poll.poll(seconds * 1000)
        return self._set

    def check(self) -> None:
        """Raise Cancelled if it is set."""
        if self._set:
            raise Cancelled

    def fileno(self) -> int:
        """Readable once it is set; for ``select`` and ``poll``, never to be read from."""
        return self._fd
