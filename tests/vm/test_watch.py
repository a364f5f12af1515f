"""The loop itself, around a machine that ends when it is told to. Around processes: test_process.py."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.vm import watch as module
from ktstr.vm.watch import Limits, Usage, Watch


class Machine:
    """Ends by itself when ``over`` is called; ``look`` is called back."""

    def __init__(self, look: Callable[[], float] = lambda: 60.0) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._look = look
        self.threads = {threading.get_ident()}
        self.ends = 0

    def over(self) -> None:
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        return self._fd

    def look(self) -> float:
        self.threads.add(threading.get_ident())
        return self._look()

    def end(self) -> Usage:
        self.threads.add(threading.get_ident())
        self.ends += 1
        return Usage(3, 1000, 1.5)


def test_one_thread_starts_watches_and_ends_it() -> None:
    with Watch(Machine, Limits(60), Cancel()) as watch:
        assert not watch.ends_within(0.01)
        watch.machine.over()
        ended = watch.wait()
    assert (ended.status, ended.stopped, ended.flooded, ended.peak_kib, ended.dilation) == (3, None, None, 1000, 1.5)
    assert watch.machine.ends == 1
    assert len(watch.machine.threads - {threading.get_ident()}) == len(watch.machine.threads) == 1
    assert watch.ends_within(0)
    assert watch.wait() == ended


def test_end_cancel_kill_and_deadline_wait_for_no_look() -> None:
    cancel = Cancel()
    acts: list[tuple[Callable[[Watch[Machine]], object], str | None]] = [
        (lambda watch: watch.machine.over(), None),
        (lambda watch: watch.kill(), "killed"),
        (lambda watch: cancel.set(), "cancelled"),
    ]
    for act, stopped in acts:
        with Watch(Machine, Limits(60), cancel) as watch:
            began = time.monotonic()
            act(watch)
            assert watch.wait().stopped == stopped
            assert time.monotonic() - began < 2
    with Watch(Machine, Limits(0.2), Cancel()) as watch:
        ended = watch.wait()
    assert ended.stopped == "timeout"
    assert 0.2 <= ended.seconds < 2


def test_a_cancel_that_was_set_before_ends_it_at_once() -> None:
    cancel = Cancel()
    cancel.set()
    with Watch(Machine, Limits(60), cancel) as watch:
        assert watch.wait().stopped == "cancelled"
        assert watch.machine.ends == 1


def test_leaving_ends_it() -> None:
    with Watch(Machine, Limits(60), Cancel()) as watch:
        pass
    assert watch.machine.ends == 1
    assert watch.wait().stopped == "killed"


def test_a_flood_is_seen_at_a_look_and_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "file"
    limits = Limits(60, ((file, 3),))
    with Watch(lambda: Machine(lambda: 0.01), limits, Cancel()) as watch:
        file.write_bytes(b"four")
        ended = watch.wait()
    assert (ended.stopped, ended.flooded) == ("flood", file)
    file.write_bytes(b"")
    with Watch(Machine, limits, Cancel()) as watch:
        assert not watch.ends_within(0.05)
        file.write_bytes(b"four")
        watch.machine.over()
        assert watch.wait().stopped == "flood"


def test_a_dead_guest_has_its_grace_counted_from_when_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEAD_GRACE_S", 0.4)
    monkeypatch.setattr(module, "_DEAD_LOOK_S", 0.01)
    dies_at = time.monotonic() + 0.4
    limits = Limits(60, (), lambda: time.monotonic() >= dies_at)
    with Watch(lambda: Machine(lambda: 0.01), limits, Cancel()) as watch:
        ended = watch.wait()
    assert ended.stopped == "dead"
    assert 0.8 <= ended.seconds < 4


def test_what_cannot_be_started_raises_at_once() -> None:
    def fails() -> Machine:
        raise OSError("no machine")

    with pytest.raises(OSError, match="no machine"):
        Watch(fails, Limits(60), Cancel())


def test_what_goes_wrong_while_it_runs_ends_it_and_is_raised_to_who_waits() -> None:
    def fails() -> float:
        raise RuntimeError("a bug")

    made: list[Machine] = []

    def begin() -> Machine:
        made.append(Machine(fails))
        return made[0]

    watch = Watch(begin, Limits(60), Cancel())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug"):
            watch.wait()
    assert made[0].ends == 1
    watch.close()


def test_it_runs_on_the_cpus_it_was_given_and_the_caller_stays() -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    seen: list[set[int]] = []

    def begin() -> Machine:
        seen.append(os.sched_getaffinity(0))
        return Machine()

    with Watch(begin, Limits(60), Cancel(), (cpu,)):
        pass
    assert seen == [{cpu}]
    assert os.sched_getaffinity(0) == before


def test_its_time_begins_with_its_start() -> None:
    before = time.monotonic()

    def begin() -> Machine:
        time.sleep(0.3)
        return Machine()

    with Watch(begin, Limits(0.4), Cancel()) as watch:
        ended = watch.wait()
    assert before <= watch.started
    assert ended.seconds >= 0.4
    assert time.monotonic() - before < 3
