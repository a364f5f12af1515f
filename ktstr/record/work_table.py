"""The work types of ``vmm_c/include/work_types.def``: made of it by ``python -m ktstr.record.definitions``.

Edit that file, not this one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ktstr.record.facts import WorkCount, WorkFacts, WorkParam

WorkType: TypeAlias = Literal[
    "SpinWait",
    "YieldHeavy",
    "Mixed",
    "Bursty",
    "PipeIo",
    "FutexPingPong",
    "ForkExit",
]

WORK_TYPES: dict[str, WorkFacts] = {
    "SpinWait": WorkFacts(
        number=1,
        about="computes without a pause",
        group_size=1,
        group_params=0,
        flags=(),
        params=(),
        counts=(),
    ),
    "YieldHeavy": WorkFacts(
        number=2,
        about="gives its CPU up as often as it can",
        group_size=1,
        group_params=0,
        flags=(),
        params=(),
        counts=(),
    ),
    "Mixed": WorkFacts(
        number=3,
        about="computes and gives its CPU up in turn",
        group_size=1,
        group_params=0,
        flags=(),
        params=(),
        counts=(),
    ),
    "Bursty": WorkFacts(
        number=4,
        about="computes for a while, then sleeps for a while",
        group_size=1,
        group_params=0,
        flags=("WAKES",),
        params=(
            WorkParam(
                key="burst",
                name="burst_ns",
                unit="ns",
                default=50000000,
                low=1000,
                high=3600000000000,
                about="length of a burst",
            ),
            WorkParam(
                key="sleep",
                name="sleep_ns",
                unit="ns",
                default=100000000,
                low=1000,
                high=3600000000000,
                about="sleep between bursts",
            ),
        ),
        counts=(),
    ),
    "PipeIo": WorkFacts(
        number=5,
        about="exchanges bytes with its partner through pipes",
        group_size=2,
        group_params=0,
        flags=("WAKES", "PIPES"),
        params=(
            WorkParam(
                key="burst_iters",
                name="burst_iters",
                unit="",
                default=1024,
                low=0,
                high=2147483648,
                about="spins before each exchange",
            ),
        ),
        counts=(),
    ),
    "FutexPingPong": WorkFacts(
        number=6,
        about="wakes its partner and waits to be woken by it",
        group_size=2,
        group_params=0,
        flags=("WAKES",),
        params=(
            WorkParam(
                key="spin_iters",
                name="spin_iters",
                unit="",
                default=1024,
                low=0,
                high=2147483648,
                about="spins before each wake",
            ),
        ),
        counts=(),
    ),
    "ForkExit": WorkFacts(
        number=7,
        about="forks children that exit at once",
        group_size=1,
        group_params=0,
        flags=("WAKES",),
        params=(),
        counts=(
            WorkCount(
                name="children",
                unit="",
                about="forked, and waited for",
            ),
        ),
    ),
}
