"""How long cells are expected to take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.model import TestDecl
from ktstr.config.topology import Topology
from ktstr.planning.estimate import Estimates, boot_seconds, cell_seconds
from ktstr.results.judged import Row

ACCELS = ["kvm", "icount", "tcg"]
TINY = Topology.parse("1n1l4c1t")
TEST = TestDecl("steady", (), duration_ns=1_000_000_000)


def row(seconds: float) -> Row:
    return Row("", "", [], 0, "pass", [], seconds, [], None, "", [])


def test_what_was_measured_of_a_cell_goes_before_everything() -> None:
    rows = {
        "steady/tiny/k/eevdf/tcg-s0": row(7),
        "other/tiny/k/eevdf/tcg-s0": row(1),
        "other/tiny/k/eevdf/tcg-s1": row(3),
        "other/tiny/k/eevdf/icount-s1": row(50),
        "base/third/tiny/k/eevdf/tcg-s3": row(100),
    }
    estimates = Estimates(rows, 2)
    assert estimates.cell("steady/tiny/k/eevdf/tcg-s0", "tcg", "tiny", TINY, TEST) == 7
    assert estimates.cell("steady/tiny/k/eevdf/tcg-s1", "tcg", "tiny", TINY, TEST) == 5  # median of 1, 3, 7, 100
    assert estimates.cell("steady/tiny/k/eevdf/icount-s0", "icount", "tiny", TINY, TEST) == 50
    assert estimates.cell("steady/wide/k/eevdf/tcg-s0", "tcg", "wide", TINY, TEST) == cell_seconds("tcg", 4, 10**9)


def test_a_row_without_a_time_says_nothing() -> None:
    name = "steady/tiny/k/eevdf/tcg-s0"
    assert Estimates({name: row(0)}, 2).cell(name, "tcg", "tiny", TINY, TEST) == cell_seconds("tcg", 4, 10**9)


@pytest.mark.parametrize("accel", ACCELS)
def test_a_scenario_takes_at_least_its_time(accel: str) -> None:
    assert cell_seconds(accel, 4, 3_000_000_000) >= 3


@given(st.sampled_from(ACCELS), st.integers(1, 511), st.integers(1, 64))
def test_more_vcpus_take_longer_and_more_host_cpus_do_not(accel: str, vcpus: int, cpus: int) -> None:
    assert 0 < boot_seconds(accel, vcpus, cpus) <= boot_seconds(accel, vcpus + 1, cpus)
    assert boot_seconds(accel, vcpus, cpus + 1) <= boot_seconds(accel, vcpus, cpus)
