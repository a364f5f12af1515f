"""Following a file that another process appends to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TICK_S = 0.1
_CHUNK = 64 << 10


@contextmanager
def following(path: Path, sink: Callable[[bytes], None]) -> Iterator[None]:
    """While the block runs, and a last time at its end, give ``sink`` what was appended to ``path``.

    ``sink`` is called on a thread of its own. What it raises ends the following, and is raised at the end.
    """
    done = threading.Event()
    raised: list[Exception] = []

    def follow() -> None:
        try:
            with path.open("rb") as file:
                while True:
                    last = done.wait(TICK_S)  # before the read: nothing is appended after it is set
                    while chunk := file.read(_CHUNK):
                        sink(chunk)
                    if last:
                        return
        except Exception as err:  # handed to the caller's thread
            raised.append(err)

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if raised:
        raise raised[0]
