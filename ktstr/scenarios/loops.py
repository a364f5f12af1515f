"""The ops of a step again and again: what each pass does is followed until what there is comes round.

Mostly every pass has the same ops, and a Repeat holds them once. Where they differ, as with cpusets that are swapped,
it holds as many passes as come round, those before them come first. What a pass makes lives until the next one begins,
so that pass holds its interval itself, in a Scope. A pass that begins before the time is over is a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.config import ops as declared
from ktstr.errors import InputError
from ktstr.record import vocabulary
from ktstr.scenarios import program
from ktstr.scenarios.deadlines import STOP_WORKERS_NS
from ktstr.scenarios.draft import Draft
from ktstr.scenarios.opcompile import compile_op, stopped_with, thaw
from ktstr.scenarios.program import Op

MAX_PASSES = 16  # that differ


@dataclass(frozen=True)
class Loop:
    """``ops`` every ``interval_ns``, for ``lasts_ns``."""

    ops: tuple[declared.Op, ...]
    interval_ns: int
    lasts_ns: int
    where: str


@dataclass(frozen=True)
class _Pass:
    """The ops of one pass, and those that have to be there before what it made is taken down."""

    ops: tuple[Op, ...]
    ends: tuple[Op, ...]

    @property
    def makes(self) -> bool:
        return any(vocabulary.OPS[type(op).__name__].makes for op in self.ops)

    def held(self, ns: int) -> list[Op]:
        """With the time until the next one."""
        ops = [*self.ops, program.Hold(ns), *self.ends]
        return [program.Scope(tuple(ops), STOP_WORKERS_NS)] if self.makes else ops


@dataclass(frozen=True)
class _Passes:
    """The passes that differ, in order; after the last comes the one at ``back``."""

    passes: tuple[_Pass, ...]
    back: int


def compile_loop(draft: Draft, loop: Loop) -> list[Op]:
    """The ops that it is. Raises InputError for an op that cannot be in the second pass, or a later one."""
    found = _follow(draft, loop)
    first, again = found.passes[: found.back], found.passes[found.back :]
    ops: list[Op] = []
    left = loop.lasts_ns
    for one in first:
        if left > 0:
            ops += one.held(min(loop.interval_ns, left))
            left -= loop.interval_ns
    if left <= 0:
        return ops
    if len(again) == 1 and not again[0].makes:
        whole = again[0].ops
        return [*ops, program.Repeat(whole, 0, left, loop.interval_ns) if whole else program.Hold(left)]
    body = [op for one in again for op in one.held(loop.interval_ns)]
    return [*ops, program.Repeat(tuple(body), 0, left, 0)]


def _follow(draft: Draft, loop: Loop) -> _Passes:
    passes: list[_Pass] = []
    seen = {draft.places.state(): 0}
    draws = draft.draws
    while True:
        draft.draws = draws
        passes.append(_pass(draft, loop))
        state = draft.places.state()
        if state in seen:
            return _shortest(tuple(passes), seen[state])
        seen[state] = len(passes)
        if len(passes) == MAX_PASSES:
            raise InputError(
                f"{loop.where}.ops: found a loop of {len(passes)} passes that all differ, expected ops that"
                " come round sooner"
            )


def _shortest(passes: tuple[_Pass, ...], back: int) -> _Passes:
    """The same passes with as few before those that come round as there can be, and each of these once."""
    while back and passes[back - 1] == passes[-1]:
        passes, back = passes[:-1], back - 1
    if all(one == passes[back] for one in passes[back:]):
        passes = passes[: back + 1]
    return _Passes(passes, back)


def _pass(draft: Draft, loop: Loop) -> _Pass:
    """One pass, after which what it made is gone, and CPUs are as they were."""
    places = draft.places
    outer, online = draft.step, places.online
    ops: list[Op] = []
    draft.step = -outer
    for index, op in enumerate(loop.ops):
        ops += compile_op(draft, op, (outer, index))
    ends = thaw(stopped_with(places, -outer))
    places.end(lambda step: step == -outer)
    draft.step, places.online = outer, online
    return _Pass(tuple(ops), tuple(ends))
