"""What a seed does to the ops and workers of a scenario: the order of spawns and releases, start offsets, delays.

Spawns that follow each other are put into the order that the seed draws. A delay may come before each op that makes a
cgroup, spawns, releases or stops workers. Nothing else depends on a seed but random affinities.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice

from ktstr.scenarios.perturb import Perturbations
from ktstr.scenarios.program import (
    AddCgroup,
    Delay,
    Op,
    Release,
    Repeat,
    Scope,
    Spawn,
    StopWorkers,
    Work,
    flat,
)

_DELAYED = (AddCgroup, Spawn, Release, StopWorkers)


def delayed(ops: Sequence[Op]) -> int:
    """How many ops a delay may come before."""
    return sum(1 for _ in _delayable(ops))


def is_delayable(op: Op) -> bool:
    """Whether a delay may come before it."""
    return isinstance(op, _DELAYED)


def _delayable(ops: Sequence[Op]) -> Iterator[Op]:
    return filter(is_delayable, flat(tuple(ops)))


@dataclass
class Seeded:
    """The ops under a seed. ``places``: where each op is among all, by the identity of what it was before."""

    ops: tuple[Op, ...] = ()
    places: dict[int, int] = field(default_factory=dict)

    def place(self, op: Op) -> int:
        """The number that the agent gives an op."""
        return self.places[id(op)]


def seeded(ops: Sequence[Op], shifts: Perturbations) -> Seeded:
    """The ops in the seed's order and with its delays."""
    made = Seeded()
    order = {work: place for place, work in enumerate(shifts.spawn_order)}
    made.ops = tuple(_Shift(order, iter(shifts.delays_ns), made.places).block(ops))
    return made


def visits(ops: Sequence[Op], shifts: Perturbations) -> tuple[int, ...]:
    """The ops that a delay may come before, in the seed's order: each by its place among them as declared."""
    undelayed = replace(shifts, delays_ns=(0,) * delayed(ops))
    declared: defaultdict[int, deque[int]] = defaultdict(deque)
    for place, op in enumerate(_delayable(ops)):
        declared[id(op)].append(place)
    return tuple(declared[id(op)].popleft() for op in _delayable(seeded(ops, undelayed).ops))


class _Shift:
    def __init__(self, order: dict[int, int], delays: Iterator[int], places: dict[int, int]) -> None:
        self._order, self._delays, self._places = order, delays, places
        self._count = 0

    def block(self, ops: Sequence[Op]) -> list[Op]:
        made: list[Op] = []
        for op in self._ordered(ops):
            if isinstance(op, _DELAYED) and (delay := next(self._delays)):
                made.append(Delay(delay))
                self._count += 1
            self._places[id(op)] = self._count
            self._count += 1
            made.append(replace(op, body=tuple(self.block(op.body))) if isinstance(op, (Scope, Repeat)) else op)
        return made

    def _ordered(self, ops: Sequence[Op]) -> Iterator[Op]:
        for is_spawn, some in groupby(ops, key=lambda op: isinstance(op, Spawn)):
            if is_spawn:
                spawns = [op for op in some if isinstance(op, Spawn)]
                yield from sorted(spawns, key=lambda op: self._order[op.work])
            else:
                yield from some


def manned(works: Sequence[Work], ops: Sequence[Op], shifts: Perturbations) -> tuple[Work, ...]:
    """The works with what the seed decides for each worker: by its number, which follows from the order of spawns."""
    places = {number: place for place, number in enumerate(shifts.release_order)}
    numbers = iter(range(len(places)))
    made = list(works)
    for index in dict.fromkeys(op.work for op in flat(tuple(ops)) if isinstance(op, Spawn)):
        crew = made[index].workers
        taken = islice(numbers, len(crew))
        made[index] = replace(
            made[index],
            workers=tuple(
                replace(worker, start_offset_ns=shifts.start_offsets_ns[number], order=places[number])
                for worker, number in zip(crew, taken, strict=True)
            ),
        )
    return tuple(made)
