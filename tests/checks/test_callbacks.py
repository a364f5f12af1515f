from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ktstr.checks import callbacks
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Verdict
from ktstr.record.dump import Inspected
from ktstr.record.kernel import BpfProgram
from tests.checks.reports import record


def program(name: str, calls: int, mean_us: float) -> BpfProgram:
    return BpfProgram(
        id=len(name), name=name, type="STRUCT_OPS", tag="0" * 16, verified_insns=1, jited_len=1, run_cnt=calls,
        run_time_ns=round(calls * mean_us * 1000), recursion_misses=0,
    )  # fmt: skip


def judged(*programs: BpfProgram, **limits: Any) -> list[tuple[Verdict, str]]:
    first = tuple(replace(one, run_cnt=0, run_time_ns=0) for one in programs)
    inspected = Inspected(
        programs=first, profile=programs, watchdog_timeout_ms=None, early=None, late=None, unread=None
    )
    details = callbacks.judge(replace(record(), inspected=inspected), merge({}, limits))
    assert all(detail.kind == "Callback" for detail in details)
    return [(detail.verdict, detail.message) for detail in details]


def test_the_slowest_is_told() -> None:
    slow, slower = program("enqueue", 200, 1500), program("dispatch", 100, 2312.4)
    assert judged(slow, slower, program("x", 9999, 3)) == [
        (
            Verdict.FAIL,
            "callback dispatch: 100 calls took 2312 us each on average, limit 1000 us (max_callback_us, default)",
        )
    ]


@pytest.mark.parametrize("fine", [("dispatch", 1000, 1000), ("init", 99, 90_000)])
def test_at_the_limit_or_seldom_called_it_is_fine(fine: tuple[str, int, float]) -> None:
    assert judged(program(*fine), program("enqueue", 100, 1)) == []


def test_what_was_not_counted_is_not_known() -> None:
    assert judged() == judged(program("dispatch", 0, 0)) == []
    assert judged(max_callback_us=5) == [
        (
            Verdict.INCONCLUSIVE,
            "max_callback_us was set but not evaluated: no callback was called 100 times and counted",
        )
    ]
