from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.checks.verifier.cycles import Cycle, block_form, collapse, find_cycle, form


def rounds(count: int, *, begin: int = 10, state: int = 0) -> list[str]:
    """A loop of six instructions that the verifier walked so often, each time with other states."""
    return [
        line
        for one in range(count)
        for line in (
            f"; sum += i; @ x.bpf.c:{begin}",
            f"{begin}: (07) r1 += 1                 ; R1=scalar(umin={state + one})",
            f"{begin + 1}: R1={state + one} R10=fp0",
            f"{begin + 1}: (bf) r2 = r1                 ; frame1: R2=scalar(id={one})",
            f"{begin + 2}: (85) call bpf_get_smp_processor_id#8",
            f"{begin + 3}: (a5) if r1 < 0x64 goto pc-4 {begin}: R1={one}",
        )
    ]


HEAD = ["0: R1=ctx() R10=fp0", "0: (b7) r1 = 0", "1: (05) goto pc+8"]
TAIL = ["20: (95) exit", "processed 640 insns (limit 1000000) max_states_per_insn 4 total_states 9 peak_states 9"]


def test_a_line_loses_what_differs_between_rounds() -> None:
    assert form("7: (07) r1 += 1                 ; R1=scalar(umin=5) R2=3") == "7: (07) r1 += 1"
    assert form("7: R1=5 R10=fp0") == "7:"
    assert form("12: frame1: R1=5") == "12:"
    assert form("9: (a5) if r1 < 0x64 goto pc-4 7: R1=1") == "9: (a5) if r1 < 0x64 goto pc-4"
    assert form("  ; sum += i; @ x.bpf.c:10 ") == "; sum += i; @ x.bpf.c:10"
    assert block_form("7: (07) r1 += 1 ; R1=2") == "(07) r1 += 1"


def test_a_loop_keeps_its_first_and_its_last_round_and_says_how_many_were_left_out() -> None:
    log = [*HEAD, *rounds(100), *TAIL]
    short = collapse(log)
    assert short[:3] == HEAD and short[-2:] == TAIL
    assert "--- 100 rounds of 6 lines: the first ---" in short
    assert "--- 98 rounds left out; the last ---" in short
    assert "10: (07) r1 += 1                 ; R1=scalar(umin=0)" in short
    assert "10: (07) r1 += 1                 ; R1=scalar(umin=99)" in short
    assert len(short) == len(HEAD) + len(TAIL) + 2 * 6 + 3


def test_an_unrolled_loop_whose_instructions_have_other_numbers_is_one_too() -> None:
    log = [line for one in range(8) for line in rounds(1, begin=10 + 4 * one)]
    unrolled = [line.split(" @ ")[0] for line in log]
    assert find_cycle(unrolled) == Cycle(0, 6, 8)


def test_a_loop_in_a_loop_is_collapsed_in_passes() -> None:
    outer = [*rounds(6), "30: (07) r7 += 1 ; R7=1", "31: (55) if r7 != 0x5 goto pc-20"]
    short = collapse(outer * 5)
    assert len(short) < len(outer) + 20
    assert sum(line.startswith("--- ") and "rounds left out" in line for line in short) >= 2


def test_two_rounds_and_short_periods_are_left_as_they_are() -> None:
    assert collapse(rounds(2)) == rounds(2)
    short = ["1: (07) r1 += 1 ; R1=1", "2: (a5) if r1 < 0x9 goto pc-2"] * 20
    whole = collapse(short)  # of five lines or more, the period is a multiple of two
    assert whole == short or "rounds" in " ".join(whole)


def test_a_log_without_rounds_is_left_as_it_is() -> None:
    log = [f"{number}: (bf) r{number % 10} = r{number % 7} + {number}" for number in range(400)]
    assert collapse(log) == log


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 60), st.integers(0, 30), st.integers(0, 30))
def test_what_is_around_a_loop_stays(count: int, before: int, after: int) -> None:
    head = [f"before number {number}" for number in range(before)]
    tail = [f"after number {number}" for number in range(after)]
    short = collapse([*head, *rounds(count), *tail])
    assert short[: len(head)] == head
    assert short[len(short) - len(tail) :] == tail
    assert len(short) <= len(head) + len(tail) + 2 * 6 + 3 + 6


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["1: (07) r1 += 1 ; R1=1", "2: R1=2", "; source", "", "3: goto pc+1 x", "é"]), max_size=90)
)
def test_any_log_ends_with_every_other_line_in_its_order(lines: list[str]) -> None:
    short = collapse(lines)
    kept = iter(lines)
    assert all(line in kept for line in short if not line.startswith("--- "))


def test_a_log_of_100_000_lines_takes_seconds() -> None:
    began = time.perf_counter()
    assert len(collapse(rounds(17_000))) < 40
    assert time.perf_counter() - began < 30
