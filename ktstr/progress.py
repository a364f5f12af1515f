"""Progress on standard error: a live bar on a terminal, plain lines otherwise.

``NO_COLOR`` and ``TERM=dumb`` ask for plain lines on a terminal too: not one escape code.
Standard output is the report's alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_LIVE_S, _PLAIN_S = 0.2, 15.0  # how often a long step says how far it is
_WIDTH = 80


@dataclass(frozen=True)
class Steps:
    """How far a build is: files (or other ``units``) made in this run; ``total`` and ``eta_s`` (seconds) are None when
    unknown."""

    done: int
    total: int | None
    eta_s: float | None
    last: str
    units: str = "files"

    def __str__(self) -> str:
        """``412 of about 1700 files, 2 min left: kernel/sched/core.o``."""
        of = f" of about {self.total}" if self.total else ""
        return f"{self.done}{of} {self.units}{self._left()}: {self.last}"

    def _left(self) -> str:
        if self.eta_s is None:
            return ""
        return f", {self.eta_s / 60:.0f} min left" if self.eta_s >= 90 else f", {self.eta_s:.0f} s left"


@dataclass(frozen=True)
class CellEnd:
    """A cell that ended: ``seconds`` is None when nothing was measured; ``ran`` False when a stored result was good."""

    name: str
    verdict: str
    failed: bool
    ran: bool
    seconds: float | None


class Progress:
    """Counts cells as they start and end, and says so. Safe from any thread."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._total, self._stream, self._started = 0, stream, time.monotonic()
        self._done = self._failed = self._fresh = 0
        self._running: dict[str, str | None] = {}
        plain = environ.get("TERM", "dumb") == "dumb" or environ.get("NO_COLOR")
        self._live = stream.isatty() and not plain
        self._bar: Bar | None = None
        self._lock = threading.Lock()

    def expect(self, cells: int) -> None:
        """How many cells there are."""
        self._total, self._started = cells, time.monotonic()

    def step(self, text: str) -> None:
        """Something other than a cell began: building, fetching."""
        with self._lock:
            self._line(text)

    def fetching(self, what: str) -> Callable[[str, int, int | None], None]:
        """Told a step, its bytes done and, if known, in all, says so now and then."""
        paced = self._paced()

        def on_bytes(step: str, done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            paced(f"{what}: {step} {done / 1e6:.1f}{of} MB")

        return on_bytes

    def building(self, what: str) -> Callable[[Steps], None]:
        """Told how far make is, says so now and then."""
        paced = self._paced()
        return lambda steps: paced(f"{what}: {steps}")

    def cell_started(self, name: str, worker: str | None = None) -> None:
        """A cell runs, on a worker of that name where it is not this host."""
        with self._lock:
            self._running[name] = worker
            self._show(self._counts())

    def cell_ended(self, end: CellEnd) -> None:
        with self._lock:
            self._done += 1
            worker = self._running.pop(end.name, None)
            self._fresh += end.ran
            self._failed += end.failed
            if end.ran or end.failed:
                self._line(self._cell_text(end) + (f" on {worker}" if worker else ""))
            self._show(self._counts())

    def close(self) -> None:
        """Take the bar away and give the cursor back."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _paced(self) -> Callable[[str], None]:
        last = time.monotonic()

        def say(text: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < (_LIVE_S if self._live else _PLAIN_S):
                return
            last = now
            with self._lock:
                if self._live:
                    self._show(text)
                else:
                    self._line(text)

        return say

    def _cell_text(self, end: CellEnd) -> str:
        took = f" in {end.seconds:.1f} s" if end.ran and end.seconds is not None else ""
        return f"[{self._done}/{self._total}] {end.verdict:<12} {end.name}{took}"

    def _eta(self) -> str:
        if not self._fresh:
            return "--"
        per_cell = (time.monotonic() - self._started) / self._fresh
        return f"{per_cell * (self._total - self._done):.0f} s"

    def _counts(self) -> str:
        return (
            f"{self._done}/{self._total} done, {len(self._running)} running{self._where()}, {self._failed} failed,"
            f" about {self._eta()} left"
        )

    def _where(self) -> str:
        """Which workers run how many cells; empty where none does."""
        counted = Counter(worker for worker in self._running.values() if worker)
        return f" ({', '.join(f'{name}: {count}' for name, count in sorted(counted.items()))})" if counted else ""

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        self._stream.write(text + "\n")
        self._stream.flush()

    def _show(self, text: str) -> None:
        """Draw the bar with this text behind it; nothing where lines are wanted."""
        if not self._live:
            return
        if self._bar is None:
            self._bar = _bar(self._stream)
            self._bar.add_task("")
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, description=text[: _WIDTH - 1], total=self._total or None, completed=self._done)
        self._bar.refresh()


def _bar(stream: TextIO) -> Bar:
    from rich.console import Console  # slow to import, and most runs have no terminal or nothing to show on it
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None))
    return Bar(*columns, console=Console(file=stream), transient=True, auto_refresh=False)
