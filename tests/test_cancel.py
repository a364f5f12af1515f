"""ktstr.cancel: set from anywhere, seen by every wait."""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import time

import pytest

from ktstr.cancel import Cancel, Cancelled


def test_a_wait_ends_when_another_thread_sets_it() -> None:
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    began = time.monotonic()
    assert cancel.wait(30)
    assert time.monotonic() - began < 20


def test_a_signal_handler_may_set_what_its_own_thread_waits_for() -> None:
    cancel = Cancel()
    before = signal.signal(signal.SIGALRM, lambda number, frame: cancel.set(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert cancel.wait(30)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert cancel.signal == signal.SIGALRM


def test_the_first_signal_is_kept() -> None:
    cancel = Cancel()
    cancel.set(signal.SIGTERM)
    cancel.set(signal.SIGINT)
    assert cancel.signal == signal.SIGTERM


def test_check_raises_once_it_is_set() -> None:
    cancel = Cancel()
    cancel.check()
    cancel.set()
    with pytest.raises(Cancelled):
        cancel.check()


def test_a_wait_that_nobody_ends_takes_its_time_and_says_so() -> None:
    assert not Cancel().wait(0.01)


def test_its_descriptor_is_readable_once_set_and_stays_so() -> None:
    cancel = Cancel()
    assert select.select([cancel], [], [], 0)[0] == []
    cancel.set()
    assert select.select([cancel], [], [], 0)[0] == [cancel]
    assert select.select([cancel], [], [], 0)[0] == [cancel]


def test_it_takes_its_descriptor_with_it() -> None:
    cancel = Cancel()
    fd = cancel.fileno()
    del cancel
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
