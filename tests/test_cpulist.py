from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr import cpulist


def test_list_of_the_kernel_documentation() -> None:
    assert cpulist.parse("0-3,5") == (0, 1, 2, 3, 5)
    assert cpulist.parse("5,0-1,1") == (0, 1, 5)
    assert cpulist.render((5, 0, 1, 2, 3)) == "0-3,5"
    assert cpulist.render(()) == ""


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "1,,2", "1 2", "0x1", "3-1", "512", "0-9999", "1-2-3", "0," * 3000]
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a CPU list"):
        cpulist.parse(text)


@given(st.sets(st.integers(0, 511), min_size=1))
def test_render_and_parse_are_inverse(cpus: set[int]) -> None:
    assert cpulist.parse(cpulist.render(cpus)) == tuple(sorted(cpus))


def test_a_host_may_have_more_cpus_than_a_guest() -> None:
    assert cpulist.parse("510-513", cpulist.MAX_HOST_CPUS) == (510, 511, 512, 513)
    with pytest.raises(ValueError, match="below 512"):
        cpulist.parse("510-513")
    with pytest.raises(ValueError, match="below 8192"):
        cpulist.parse("8192", cpulist.MAX_HOST_CPUS)
    every_other = ",".join(str(cpu) for cpu in range(0, 8192, 2))
    assert cpulist.parse(every_other, cpulist.MAX_HOST_CPUS) == tuple(range(0, 8192, 2))
