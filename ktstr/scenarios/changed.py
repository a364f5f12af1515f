"""What a part of a seed's changes does to a test, in words: compared with the same test when none is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ktstr.scenarios.compile import Compiled
from ktstr.scenarios.program import flat, spawn_order
from ktstr.scenarios.seeding import is_delayable
from ktstr.scenarios.timeline import timeline

_MS = 1e6


def words_of(compiled: Compiled, plain: Compiled) -> tuple[str, ...]:
    """One sentence for each thing that is otherwise in ``compiled`` than in ``plain``, which is the same test without
    any change. Workers have the numbers that the reports of ``compiled`` have."""
    crew = _crew(compiled)
    return (
        *_spawns(compiled, plain),
        *_releases(compiled, crew),
        *(
            f"{worker} starts {_ms(ns)} later"
            for worker, ns in zip(crew, compiled.perturbations.start_offsets_ns, strict=True)
            if ns
        ),
        *_delays(compiled),
    )


def _ms(ns: int) -> str:
    return f"{ns / _MS:.3f} ms"


def _crew(compiled: Compiled) -> list[str]:
    """What workers are called, by their numbers."""
    called: list[str] = []
    for work in spawn_order(compiled.program):
        for _ in compiled.program.works[work].workers:
            called.append(f"worker {len(called)} of {_place(compiled, work)}")
    return called


def _place(compiled: Compiled, work: int) -> str:
    """Where a work is, with its kind where others are there too."""
    works = compiled.program.works
    cgroup = works[work].cgroup
    place = f"cgroup {compiled.cgroup_names[cgroup]}" if cgroup >= 0 else "the agent's own cgroup"
    is_alone = sum(other.cgroup == cgroup for other in works) == 1
    return place if is_alone else f"{place} ({works[work].type})"


def _spawns(compiled: Compiled, plain: Compiled) -> Iterator[str]:
    now, before = spawn_order(compiled.program), spawn_order(plain.program)
    moved = [work for work, other in zip(now, before, strict=True) if work != other]
    if moved:
        yield f"workers are spawned first in {', then in '.join(_place(compiled, work) for work in moved)}"


def _releases(compiled: Compiled, crew: Sequence[str]) -> Iterator[str]:
    """Of workers that are not released as they are numbered; as they are the same ones, their order says it all."""
    moved = [number for place, number in enumerate(compiled.perturbations.release_order) if place != number]
    if moved:
        yield f"these are released in this order: {', '.join(crew[number] for number in moved)}"


def _delays(compiled: Compiled) -> Iterator[str]:
    delays = iter(compiled.perturbations.delays_ns)
    for op, entry in zip(flat(compiled.program.ops), timeline(compiled), strict=True):
        if is_delayable(op) and (ns := next(delays)):
            yield f"the agent waits {_ms(ns)} before this: {entry.what}"
