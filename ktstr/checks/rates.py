"""What all workers of a cgroup did together: work by second, and the part of the CPU time that they could have had.

Over the life of workers, and of the backdrop's in each phase of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.checks import machine
from ktstr.checks.breach import Run, where
from ktstr.checks.formulas import MS, NS
from ktstr.checks.model import Group
from ktstr.checks.phases import Part, Window, of_life
from ktstr.checks.verdict import Detail, Verdict


@dataclass(frozen=True)
class _Crew:
    """Workers of one cgroup in one time. ``cpus``: how many they could use at once, None where that is not known.

    ``wall_ns``: of the one that lived longest; ``lived_ns``: of all together; neither with what it was frozen.
    ``held``: it was frozen, and had less than one scheduling period else.
    """

    cgroup: str
    words: str
    cpus: int | None
    workers: int
    wall_ns: int
    lived_ns: int
    cpu_ns: int
    work_units: int
    excuse: str | None
    held: bool


def judge_rates(groups: Sequence[Group], found: Iterable[Window], run: Run) -> list[Detail]:
    """Both checks, of each cgroup that has workers."""
    if run.limits.limit("min_throughput") is None and run.limits.limit("min_utilisation_pct") is None:
        return []
    crews = [*_lives(groups, run), *(crew for window in found for crew in _in_phase(window, run))]
    return [
        detail
        for crew in crews
        if not crew.held
        for check in (_throughput, _utilisation)
        if (detail := check(crew, run)) is not None
    ]


def _lives(groups: Sequence[Group], run: Run) -> Iterable[_Crew]:
    alike: dict[tuple[str, int], list[tuple[Group, tuple[Part, ...]]]] = defaultdict(list)
    for group in groups:
        alike[group.cgroup, group.step].append((group, tuple(map(of_life, group.reports))))
    return [_crew(members, None, run) for members in alike.values()]


def _in_phase(window: Window, run: Run) -> Iterable[_Crew]:
    """Of the backdrop: the life of a step's workers is in their phase."""
    alike: dict[str, list[tuple[Group, tuple[Part, ...]]]] = defaultdict(list)
    for number, parts in window.parts.items():
        lived = tuple(part for part in parts if part.told and part.lived_ns)
        if lived:
            alike[run.groups[number].cgroup].append((run.groups[number], lived))
    return [_crew(members, window, run) for members in alike.values()]


def _crew(members: Sequence[tuple[Group, tuple[Part, ...]]], window: Window | None, run: Run) -> _Crew:
    first = members[0][0]
    restraint = run.restraint(first)
    frozen = restraint.frozen_ns if window is None else restraint.frozen_within(window.begin_ns, window.end_ns)
    lived: dict[int, int] = defaultdict(int)
    for _, parts in members:
        for part in parts:
            lived[part.report.index] += part.lived_ns
    lived = {worker: max(0, ns - frozen) for worker, ns in lived.items()}
    every = [part for _, parts in members for part in parts]
    cpus = [run.cpus(group) for group, _ in members]
    known = [count for count in cpus if count is not None]
    return _Crew(
        first.cgroup,
        where(run, first) if window is None else f"cgroup {first.cgroup} {window.words}",
        min(known) if len(known) == len(cpus) else None,
        len(lived),
        max(lived.values(), default=0),
        sum(lived.values()),
        sum(part.cpu_time_ns for part in every),
        sum(part.work_units for part in every),
        restraint.excuse(),
        bool(frozen) and max(lived.values(), default=0) < run.turn_ns(first),
    )


def _throughput(crew: _Crew, run: Run) -> Detail | None:
    floor = run.limits.limit("min_throughput")
    if floor is None:
        return None
    if not crew.wall_ns:
        return _unknown(crew, "throughput unknown: no worker has wall time", floor)
    rate = crew.work_units * NS / crew.wall_ns
    if rate >= floor:
        return None
    cpus = min(crew.workers, crew.cpus or crew.workers)
    done = machine.Done(crew.work_units, crew.cpu_ns, crew.wall_ns, cpus)
    excuse = crew.excuse or machine.explains_slowness(run.machine, done, floor)
    what = (
        f"{crew.words}: {crew.workers} worker(s) did {crew.work_units} work units in {crew.wall_ns / MS:.3f} ms,"
        f" {rate:.1f} work units/s < {run.limits.words('min_throughput')}"
    )
    return _judged(crew, what, rate, floor, excuse)


def _utilisation(crew: _Crew, run: Run) -> Detail | None:
    floor = run.limits.limit("min_utilisation_pct")
    if floor is None:
        return None
    if not crew.lived_ns:
        return _unknown(crew, "utilisation unknown: no worker has wall time", floor)
    if crew.cpus is None:
        return _unknown(crew, "utilisation unknown: the guest did not tell its CPUs", floor)
    cpus = min(crew.workers, crew.cpus)
    whole_ns = crew.lived_ns * cpus / crew.workers
    value = 100 * crew.cpu_ns / whole_ns
    if value >= floor:
        return None
    missing_ns = floor / 100 * whole_ns - crew.cpu_ns
    excuse = crew.excuse or machine.explains_delay(run.machine, missing_ns / cpus)
    what = (
        f"{crew.words}: {crew.workers} worker(s) had {crew.cpu_ns / MS:.3f} ms of CPU time, {value:.2f} % of what"
        f" {cpus} CPU(s) have in that time < {run.limits.words('min_utilisation_pct')}"
    )
    return _judged(crew, what, value, floor, excuse)


def _judged(crew: _Crew, what: str, value: float, limit: float, excuse: str | None) -> Detail:
    verdict, message = (Verdict.FAIL, what) if excuse is None else (Verdict.INCONCLUSIVE, f"{what}; {excuse}")
    return Detail(verdict, "Benchmark", message, crew.cgroup, None, value, limit)


def _unknown(crew: _Crew, what: str, limit: float) -> Detail:
    return Detail(Verdict.INCONCLUSIVE, "Benchmark", f"{crew.words}: {what}", crew.cgroup, None, None, limit)
