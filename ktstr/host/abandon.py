"""Waiting for what cannot be interrupted, no longer than it is wanted."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import TypeVar

from ktstr.cancel import Cancel

GRACE_S = 1.0  # for work that sees the cancel itself: it closes its files
T = TypeVar("T")


def abandonable(work: Callable[[], T], cancel: Cancel) -> T:
    """Do ``work`` on a thread of its own, and give what it gives or raise what it raises.

    For calls in which the system or a library blocks, such as looking up a name or waiting for a server's next byte.
    Raises Cancelled within ``GRACE_S`` after ``cancel`` is set, and leaves the thread where it is; it ends when its
    call returns, at the latest with the process. So ``work`` has to check ``cancel`` after each such call, before it
    changes anything.
    """
    cancel.check()
    ended = Cancel()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as err:  # handed to the thread that waits
            errors.append(err)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="abandonable", daemon=True)
    thread.start()
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(cancel, select.POLLIN)
    poll.poll()
    if not ended.is_set():
        thread.join(GRACE_S)
        cancel.check()
    if errors:
        raise errors[0]
    return results[0]
