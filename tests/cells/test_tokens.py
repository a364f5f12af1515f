"""The token pool never hands out more than it has, and a cancelled wait holds nothing."""

from __future__ import annotations

import threading
import time

from ktstr.cancel import Cancel
from ktstr.cells.tokens import TokenPool


def test_never_more_tokens_out_than_the_pool_has() -> None:
    pool, cancel = TokenPool(2, 100), Cancel()
    lock, state = threading.Lock(), {"now": 0, "most": 0}

    def use() -> None:
        with pool.hold(1, 10, cancel) as held:
            assert held
            with lock:
                state["now"] += 1
                state["most"] = max(state["most"], state["now"])
            time.sleep(0.02)
            with lock:
                state["now"] -= 1

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert state == {"now": 0, "most": 2}


def test_memory_limits_as_cpus_do() -> None:
    pool, cancel = TokenPool(8, 100), Cancel()
    entered = threading.Event()
    with pool.hold(1, 80, cancel):
        thread = threading.Thread(target=lambda: _enter(pool, 30, cancel, entered))
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(5)
    thread.join(timeout=5)


def _enter(pool: TokenPool, memory: int, cancel: Cancel, entered: threading.Event) -> None:
    with pool.hold(1, memory, cancel) as held:
        if held:
            entered.set()


def test_request_larger_than_the_pool_is_served_alone() -> None:
    pool, cancel = TokenPool(2, 100), Cancel()
    with pool.hold(64, 9999, cancel) as held:
        assert held
    with pool.hold(2, 100, cancel) as held:
        assert held


def test_cancelled_wait_gets_nothing_and_leaks_nothing() -> None:
    pool, cancel = TokenPool(1, 100), Cancel()
    with pool.hold(1, 1, Cancel()):
        threading.Timer(0.1, cancel.set).start()
        with pool.hold(1, 1, cancel) as held:
            assert not held
    with pool.hold(1, 1, Cancel()) as held:
        assert held
