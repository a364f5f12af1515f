"""A verifier's log made short: of a loop that it walked again and again, the first and the last round are kept.

A line's form is what is left of it without what differs from round to round: the state of registers, and where a jump
led. The form that comes most often is the anchor; the gaps between its lines give the period; rounds are cycles when
their blocks of forms are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_PERIOD, MIN_ROUNDS, MAX_PASSES = 5, 3, 5
_ANCHOR_CHARACTERS = 10
_STRIDES = (1, 2, 3)
MAX_LINES = 200_000
MAX_CYCLES = 64  # in a pass
_STATE = re.compile(r"^(\d+): (?:frame|R\d)")
_AFTER = re.compile(r"; (?:frame|R\d).*$")
_JUMP = re.compile(r"(goto pc[+-]\d+).*$")
_NUMBER = re.compile(r"^\d+:(?: |$)")


@dataclass(frozen=True)
class Cycle:
    """``rounds`` blocks of ``period`` lines that follow each other from line ``start`` on."""

    start: int
    period: int
    rounds: int

    @property
    def end(self) -> int:
        return self.start + self.period * self.rounds


def form(line: str) -> str:
    """A line without registers' states and without where a jump led; its instruction's number is kept."""
    line = line.strip()
    if not line[:1].isdigit():
        return line
    if (state := _STATE.match(line)) is not None:
        return f"{state[1]}:"
    return _JUMP.sub(r"\1", _AFTER.sub("", line)).rstrip()


def block_form(line: str) -> str:
    """The same without the instruction's number: an unrolled loop has others in each round."""
    return _NUMBER.sub("", form(line))


def find_cycle(lines: Sequence[str]) -> Cycle | None:
    """The cycle with the anchor that comes most often; None when there is none of at least 3 rounds of 5 lines."""
    if len(lines) < MIN_PERIOD * MIN_ROUNDS:
        return None
    numbers: dict[str, int] = {}  # of forms: blocks are compared as lists of numbers
    blocks = [numbers.setdefault(block_form(line), len(numbers)) for line in lines]
    for forms in ([form(line) for line in lines], [block_form(line) for line in lines]):
        anchor = _anchor(forms)
        if anchor is None:
            continue
        at = [index for index, found in enumerate(forms) if found == anchor]
        for stride in _STRIDES:
            period = _period(at, stride)
            if period is not None and (cycle := _longest(blocks, at, period)) is not None:
                return cycle
    return None


def _anchor(forms: Sequence[str]) -> str | None:
    counted = Counter(found for found in forms if len(found) >= _ANCHOR_CHARACTERS)
    often = [(-count, found) for found, count in counted.items() if count >= MIN_ROUNDS]
    return min(often)[1] if often else None


def _period(at: Sequence[int], stride: int) -> int | None:
    """The commonest gap between anchors that are ``stride`` apart, if it comes twice."""
    gaps = Counter(after - before for before, after in zip(at, at[stride:], strict=False))
    usual = [(-count, gap) for gap, count in gaps.items() if gap >= MIN_PERIOD and count >= 2]
    return min(usual)[1] if usual else None


def _longest(blocks: Sequence[int], at: Sequence[int], period: int) -> Cycle | None:
    """The first place with enough rounds, begun where most of them fit."""
    same = _same_for(blocks, period)
    for index in at:
        if index + 2 * period <= len(blocks) and same[index] >= period:
            starts = range(max(0, index - period + 1), index + 1)
            best = max((Cycle(start, period, same[start] // period + 1) for start in starts), key=_rounds_then_early)
            if best.rounds >= MIN_ROUNDS:
                return best
    return None


def _rounds_then_early(cycle: Cycle) -> tuple[int, int]:
    return cycle.rounds, -cycle.start


def _same_for(blocks: Sequence[int], period: int) -> list[int]:
    """For each line, how many from it on are as those a period later."""
    same = [0] * (len(blocks) + 1)
    for index in range(len(blocks) - period - 1, -1, -1):
        same[index] = same[index + 1] + 1 if blocks[index] == blocks[index + period] else 0
    return same


def collapse(lines: Sequence[str]) -> list[str]:
    """The log with each cycle's first and last round, and in between how many were left out. Nested loops too."""
    kept = list(lines)
    for _ in range(MAX_PASSES):
        shorter = _one_pass(kept)
        if len(shorter) == len(kept):
            return kept
        kept = shorter
    return kept


def _one_pass(lines: list[str]) -> list[str]:
    """The cycles that follow each other, collapsed; what is around several of them is for the next pass."""
    kept: list[str] = []
    rest = lines
    for _ in range(MAX_CYCLES):
        cycle = find_cycle(rest) if len(rest) <= MAX_LINES else None
        if cycle is None:
            break
        kept += [*rest[: cycle.start], *_collapsed(rest, cycle)]
        rest = rest[cycle.end :]
    return kept + rest


def _collapsed(lines: Sequence[str], cycle: Cycle) -> Iterator[str]:
    yield f"--- {cycle.rounds} rounds of {cycle.period} lines: the first ---"
    yield from lines[cycle.start : cycle.start + cycle.period]
    yield f"--- {cycle.rounds - 2} rounds left out; the last ---"
    yield from lines[cycle.end - cycle.period : cycle.end]
    yield "--- end of the rounds ---"
