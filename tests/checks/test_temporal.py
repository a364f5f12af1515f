from __future__ import annotations

import pytest

from ktstr.checks import temporal
from ktstr.checks.verdict import Detail, Verdict
from ktstr.config.temporal import parse
from tests.checks.sampled import cpu, task, view

# Waiting tasks: 3, 2, 1, 0, 0; CPU 1 idles in the last two.
SEEN = view(
    *(
        [cpu(task(1), *(task(n, waits_ms=10 * count) for n in range(9, 9 + count))), cpu(task(2) if count else None)]
        for count in (3, 2, 1, 0, 0)
    )
)


def judged(line: str) -> list[Detail]:
    return temporal.judge(SEEN, [parse(line)])


@pytest.mark.parametrize(
    "line",
    [
        "never waiting > 3",
        "always nr_running <= 5",
        "always imbalance <= 4",
        "eventually waiting == 0 within 300ms",
        "stays waiting == 0 after 300ms",
        "never local_dsq > 0",
        "always longest_wait_ms <= 30",
        "eventually idle_cpus == 1 within 1s",
    ],
)
def test_what_holds_gives_no_reason(line: str) -> None:
    assert judged(line) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("never waiting > 2", "waiting was 3 at 0 ms; broken in 1 of 5 samples"),
        ("always waiting >= 1", "waiting was 0 at 300 ms; broken in 2 of 5 samples"),
        ("eventually waiting == 0 within 200ms", "waiting was 1 at 200 ms; broken in 3 of 3 samples"),
        ("stays waiting == 0 after 200ms", "waiting was 1 at 200 ms; broken in 1 of 3 samples"),
        ("always longest_wait_ms < 30", "longest_wait_ms was 30 at 0 ms; broken in 1 of 5 samples"),
    ],
)
def test_what_does_not_hold_is_told_with_when_and_how_often(line: str, found: str) -> None:
    (detail,) = judged(line)
    assert (detail.verdict, detail.kind, detail.message) == (Verdict.FAIL, "Temporal", f"{line}: {found}")


def test_a_time_in_which_nothing_was_sampled_is_inconclusive() -> None:
    (detail,) = judged("stays waiting == 0 after 5s")
    assert detail.verdict is Verdict.INCONCLUSIVE and "no sample was taken in that time" in detail.message
