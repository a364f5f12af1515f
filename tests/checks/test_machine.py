from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks import machine
from ktstr.checks.machine import NOISE_NS, Stall, evidence
from tests.checks.reports import MS, S, worker


def test_ordinary_time_between_checkpoints_is_no_stall() -> None:
    reports = [worker(0, max_stall_ns=NOISE_NS - 1), worker(1, max_stall_ns=NOISE_NS, max_stall_cpu=5)]
    assert evidence("kvm", reports).stalls == (Stall(1, 5, NOISE_NS),)


def test_only_icount_and_tcg_are_emulated() -> None:
    assert [evidence(a, []).emulated for a in ("kvm", "icount", "tcg")] == [False, True, True]


def test_a_stall_beside_a_worker_is_anothers_on_a_cpu_it_used() -> None:
    reports = [
        worker(0, cpus_used=(0, 1), max_gap_cpu=0, max_stall_ns=9 * MS, max_stall_cpu=0),
        worker(1, max_stall_ns=5 * MS, max_stall_cpu=1),
        worker(2, max_stall_ns=7 * MS, max_stall_cpu=2),
    ]
    found = evidence("kvm", reports)
    assert found.stall_beside(reports[0]) == Stall(1, 1, 5 * MS)
    assert found.stall_of(reports[0]) == Stall(0, 0, 9 * MS)
    assert found.longest() == Stall(0, 0, 9 * MS)
    assert found.stall_on([2, 1]) == Stall(2, 2, 7 * MS)


@given(st.integers(0, 5 * S), st.integers(0, 5 * S), st.integers(0, 5 * S), st.integers(0, 3 * S))
def test_a_gap_is_excused_only_by_time_that_was_recorded(gap: int, off: int, stall: int, limit: int) -> None:
    off = min(off, gap)
    waiting = worker(0, max_gap_ns=gap, max_gap_off_cpu_ns=off)
    found = evidence("icount", [waiting, worker(1, max_stall_ns=stall, max_stall_cpu=0)])
    excused = machine.explains_gap(found, waiting, limit) is not None
    recorded = (gap - off) + (stall if stall >= NOISE_NS else 0)
    if excused:
        assert gap - recorded <= limit
    if off > limit and stall < NOISE_NS:
        assert not excused
