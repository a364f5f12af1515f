"""A part of what a seed perturbs: its changes by number, and the perturbations when only some of them are kept.

A change is one thing that the seed makes otherwise than seed 0, and belongs to a work, a worker or an op of the test as
declared, so that it means the same whichever others are kept. Their order, and so their numbers, follow from the seed
and the test: works that are spawned at another place, workers that are released at another place, workers that start
later, ops that are delayed.

Of an order, what is kept changes places among itself: the places that the kept works (or workers) have without the seed
are taken by these in the seed's order. So one alone changes nothing, two are exchanged if the seed exchanges them, and
all of them give the seed's whole order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from ktstr.scenarios.perturb import Perturbations
from ktstr.scenarios.program import Op, Spawn, Work, flat
from ktstr.scenarios.seeding import seeded, visits

T = TypeVar("T")
Kind: TypeAlias = Literal["spawn", "release", "start", "delay"]


@dataclass(frozen=True, order=True)
class WorkerAt:
    """A worker by its work, and its place in it."""

    work: int
    place: int


@dataclass(frozen=True)
class Change:
    """One change. ``of``: a work (spawn), a worker (release, start), or the place of an op among those that may be
    delayed, as declared (delay). ``ns``: how much later, 0 for an order."""

    kind: Kind
    of: int | WorkerAt
    ns: int = 0


@dataclass(frozen=True)
class Seedable:
    """What a seed acts on: the works and ops of a test as they are for every seed."""

    works: Sequence[Work]
    ops: Sequence[Op]

    def crew(self, shifts: Perturbations) -> tuple[WorkerAt, ...]:
        """The workers by their numbers, which follow from the order in which their works are spawned."""
        spawned = (op.work for op in flat(seeded(self.ops, shifts).ops) if isinstance(op, Spawn))
        order = dict.fromkeys((*spawned, *range(len(self.works))))
        return tuple(WorkerAt(work, place) for work in order for place in range(len(self.works[work].workers)))


def changes_of(what: Seedable, shifts: Perturbations) -> tuple[Change, ...]:
    """All that a seed changes, in the order of their numbers."""
    crew = what.crew(shifts)
    offsets = dict(zip(crew, shifts.start_offsets_ns, strict=True))
    delays = dict(zip(visits(what.ops, shifts), shifts.delays_ns, strict=True))
    return (
        *(Change("spawn", work) for work in _moved(range(len(shifts.spawn_order)), shifts.spawn_order)),
        *(Change("release", worker) for worker in sorted(_moved(crew, _released(crew, shifts)))),
        *(Change("start", worker, ns) for worker, ns in sorted(offsets.items()) if ns),
        *(Change("delay", op, ns) for op, ns in sorted(delays.items()) if ns),
    )


def kept(what: Seedable, shifts: Perturbations, keep: Collection[int]) -> Perturbations:
    """The seed's perturbations with these of its changes alone. Raises IndexError for a number that none has."""
    every = changes_of(what, shifts)
    some = [every[number] for number in keep]
    ns = {(change.kind, change.of): change.ns for change in some}
    works = range(len(shifts.spawn_order))
    order = _restricted(works, shifts.spawn_order, [work for work in works if ("spawn", work) in ns])
    spawned = Perturbations(shifts.seed, order, shifts.release_order, shifts.start_offsets_ns, shifts.delays_ns)
    crew = what.crew(spawned)
    movable = [worker for worker in crew if ("release", worker) in ns]
    released = _restricted(crew, _released(what.crew(shifts), shifts), movable)
    number = {worker: place for place, worker in enumerate(crew)}
    return Perturbations(
        shifts.seed,
        order,
        tuple(number[worker] for worker in released),
        tuple(ns.get(("start", worker), 0) for worker in crew),
        tuple(ns.get(("delay", op), 0) for op in visits(what.ops, spawned)),
        kept=tuple(sorted(keep)),
    )


def _released(crew: Sequence[WorkerAt], shifts: Perturbations) -> list[WorkerAt]:
    return [crew[number] for number in shifts.release_order]


def _moved(base: Sequence[T], target: Sequence[T]) -> list[T]:
    """What has another place in ``target``, a permutation of ``base``."""
    return [one for one, other in zip(base, target, strict=True) if one != other]


def _restricted(base: Sequence[T], target: Sequence[T], movable: Collection[T]) -> tuple[T, ...]:
    """``base``, with what is movable in the order of ``target`` on the places that it has."""
    ordered = iter([one for one in target if one in movable])
    return tuple(next(ordered) if one in movable else one for one in base)
