"""A token pool: how many host CPUs and how much memory the running cells may hold at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ktstr.cancel import Cancel


class TokenPool:
    """``total``: CPUs and MiB to hand out. A request larger than the pool is served alone."""

    def __init__(self, cpus: int, memory_mib: int) -> None:
        self.total = (max(1, cpus), max(1, memory_mib))
        self._free = list(self.total)
        self._changed = threading.Condition()

    def _take(self, want: tuple[int, int]) -> bool:
        if any(w > f for w, f in zip(want, self._free, strict=True)):
            return False
        self._free = [f - w for w, f in zip(want, self._free, strict=True)]
        return True

    @contextmanager
    def hold(self, cpus: int, memory_mib: int, cancel: Cancel) -> Iterator[bool]:
        """Wait for the tokens, then yield True; yields False when ``cancel`` was set first."""
        want = (min(cpus, self.total[0]), min(memory_mib, self.total[1]))
        held = False
        with self._changed:
            while not cancel.is_set() and not held:
                held = self._take(want)
                if not held:
                    self._changed.wait(0.2)
        if not held:
            yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self._free = [f + w for f, w in zip(self._free, want, strict=True)]
                self._changed.notify_all()
