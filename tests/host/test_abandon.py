from __future__ import annotations

import threading

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.host.abandon import abandonable
from tests.host.waits import cancelled_soon


def test_it_gives_what_the_work_gives_and_raises_what_it_raises() -> None:
    assert abandonable(lambda: 7, Cancel()) == 7
    with pytest.raises(ZeroDivisionError):
        abandonable(lambda: 1 // 0, Cancel())


def test_work_that_hears_nothing_is_left_behind() -> None:
    cancel, over = Cancel(), threading.Event()
    with cancelled_soon(cancel):
        abandonable(lambda: over.wait(60), cancel)
    over.set()


def test_work_that_sees_the_cancel_is_waited_for() -> None:
    """It closes its files before anybody else may go on with them."""
    cancel, closed = Cancel(), threading.Event()

    def work() -> None:
        cancel.wait(60)
        threading.Event().wait(0.2)
        closed.set()
        cancel.check()

    with cancelled_soon(cancel):
        abandonable(work, cancel)
    assert closed.is_set()


def test_nothing_is_begun_once_it_is_set() -> None:
    cancel, begun = Cancel(), threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        abandonable(begun.set, cancel)
    assert not begun.is_set()
