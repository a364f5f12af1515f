"""What was declared to run, joined with what each worker reported.

Workers are judged together when they were declared alike: same cgroup, work type, parameters,
policy, priority and nice. Declared differences (a nice value, another work type) are not
unfairness; CPU affinity is no such difference, so workers of one group that are pinned apart
are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ktstr.checks.formulas import Samples, pooled_wakes
from ktstr.record.guest import WorkerReport
from ktstr.record.vocabulary import DEFAULT_WORK_TYPE, WORK_TYPES


@dataclass(frozen=True)
class WorkGroup:
    """One work entry of a scenario, as declared.

    ``cpus``: the CPUs isolation is judged by, None when the cgroup has no cpuset. ``workers``:
    how many were to be spawned. ``work_index`` is what their reports carry.
    """

    work_index: int
    cgroup: str
    work_type: str
    workers: int
    cpus: tuple[int, ...] | None = None
    params: tuple[int, ...] = ()
    policy: str = "normal"
    priority: int = 0
    nice: int = 0


@dataclass(frozen=True)
class Group:
    """Workers judged together: their declaration, their reports, and how many never reported."""

    cgroup: str
    work_type: str
    cpus: tuple[int, ...] | None
    reports: tuple[WorkerReport, ...]
    missing: int

    @cached_property
    def wakes(self) -> Samples:
        """The wake-latency samples of all its workers."""
        return pooled_wakes(self.reports)

    @property
    def samples_wakes(self) -> bool:
        return self.work_type in WORK_TYPES and WORK_TYPES[self.work_type].samples_wakes


def _alike(work: WorkGroup) -> tuple[object, ...]:
    return (work.cgroup, work.work_type, work.params, work.policy, work.priority, work.nice)


def gather(works: Iterable[WorkGroup], reports: Iterable[WorkerReport]) -> tuple[Group, ...]:
    """Group ``reports`` by the work entries they belong to, in declared order.

    A report whose ``work_index`` was never declared belongs to no group and is left out. A worker that was spawned
    again reports again.
    """
    by_index: dict[int, list[WorkerReport]] = {}
    for report in reports:
        by_index.setdefault(report.work_index, []).append(report)
    alike: dict[tuple[object, ...], list[WorkGroup]] = {}
    for work in works:
        alike.setdefault(_alike(work), []).append(work)
    groups = []
    for entries in alike.values():
        reported = sorted((r for e in entries for r in by_index.get(e.work_index, ())), key=lambda r: r.index)
        missing = sum(max(0, e.workers - len({r.index for r in by_index.get(e.work_index, ())})) for e in entries)
        first = entries[0]
        groups.append(Group(first.cgroup, first.work_type, first.cpus, tuple(reported), missing))
    return tuple(groups)


def work_type_label(works: Iterable[WorkGroup]) -> str:
    """The scenario's work types for the sidecar, in declared order: ``SpinWait`` or ``SpinWait+PipeIo``."""
    return "+".join(dict.fromkeys(work.work_type for work in works)) or DEFAULT_WORK_TYPE
