"""What was declared to run, joined with what each worker reported.

Workers are judged together when they were declared alike: same step and cgroup, with the same cpuset over its life,
memory nodes, work type and role in it, parameters, policy, priority and nice. Declared differences (a nice value,
another work type) are not unfairness; CPU affinity is no such difference, so workers of one group that are pinned
apart are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ktstr.checks.formulas import Samples, pooled_requests, pooled_wakes
from ktstr.record.guest import WorkerReport
from ktstr.record.vocabulary import DEFAULT_WORK_TYPE, WORK_TYPES

REALTIME = frozenset({"fifo", "rr", "deadline"})  # policies that know no weight


@dataclass(frozen=True)
class WorkGroup:
    """One work entry of a scenario, as declared.

    ``cpus``: the CPUs isolation is judged by, of all its life, None when its cgroup was ever unconfined.
    ``workers``: how many were to be spawned. ``work_index`` is what their reports carry. ``step``: the phase of the
    step that spawned it, 0 for the backdrop. ``nodes``: where its memory is to be, None for anywhere. ``fewest_cpus``:
    how many it could use when they were fewest, None for all of ``cpus``, or of the guest's.
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
    step: int = 0
    nodes: tuple[int, ...] | None = None
    fewest_cpus: int | None = None

    @property
    def roles(self) -> Counter[int]:
        """How many workers have each role in what they do together."""
        return Counter(self.role(place) for place in range(self.workers))

    def role(self, place: int) -> int:
        """Of a worker by its place among those that work together."""
        facts = WORK_TYPES.get(self.work_type)
        return 0 if facts is None else facts.role(place, self.params)


@dataclass(frozen=True)
class PhaseSpan:
    """A phase of a scenario: from when one op began to when another did, by their places.

    ``index``: 0 for BASELINE, what the backdrop does before the first step; 1 and up for a step.
    """

    index: int
    label: str
    begin_op: int
    end_op: int


@dataclass(frozen=True)
class CgroupSpan:
    """A cgroup between two readings of its cpu.stat, by the places of the ops that read it, in which nobody changed it.

    ``cpus``: how many it could use. ``quota``: of its cpu.max, (us, period in us), None for no limit. ``weight``: its
    cpu.weight. ``limited_by``: the ancestor whose limit is below its own, None for none. ``busy``: how many of its
    workers, those below it included, never sleep.
    """

    cgroup: str
    phase: int
    begin_op: int
    end_op: int
    cpus: int
    quota: tuple[int, int] | None = None
    weight: int = 100
    limited_by: str | None = None
    busy: int = 0

    @property
    def parent(self) -> str:
        """The cgroup that it is in, empty for the test's own."""
        return self.cgroup.rpartition("/")[0]


@dataclass(frozen=True)
class Group:
    """Workers judged together: their declaration, their reports, and how many never reported.

    ``workers``: how many were declared. ``is_fair``: their policy is of those that weights are for. ``step``,
    ``nodes``, ``fewest_cpus``: as of a ``WorkGroup``. ``role``: in what works of this type do together; ``has_others``:
    there are other roles, and what the type does as a whole may be theirs alone.
    """

    cgroup: str
    work_type: str
    cpus: tuple[int, ...] | None
    reports: tuple[WorkerReport, ...]
    missing: int
    workers: int = 0
    step: int = 0
    nodes: tuple[int, ...] | None = None
    fewest_cpus: int | None = None
    is_fair: bool = True
    role: int = 0
    has_others: bool = False

    @cached_property
    def wakes(self) -> Samples:
        """The wake-latency samples of all its workers."""
        return pooled_wakes(self.reports)

    @cached_property
    def requests(self) -> Samples:
        """The request-latency samples of all its workers."""
        return pooled_requests(self.reports)

    @property
    def samples_wakes(self) -> bool:
        return self.work_type in WORK_TYPES and WORK_TYPES[self.work_type].samples_wakes

    @property
    def samples_requests(self) -> bool:
        return self.work_type in WORK_TYPES and WORK_TYPES[self.work_type].has_requests

    @property
    def never_sleeps(self) -> bool:
        return self.work_type in WORK_TYPES and WORK_TYPES[self.work_type].never_sleeps

    @property
    def yields(self) -> bool:
        return self.work_type in WORK_TYPES and WORK_TYPES[self.work_type].yields

    @property
    def pins(self) -> bool:
        return self.work_type in WORK_TYPES and WORK_TYPES[self.work_type].pins

    def is_below(self, cgroup: str) -> bool:
        """Whether its cgroup is this one, or somewhere in it."""
        return f"{self.cgroup}/".startswith(f"{cgroup}/")


def _alike(work: WorkGroup) -> tuple[object, ...]:
    kind = (work.work_type, work.params, work.policy, work.priority, work.nice)
    return (work.cgroup, work.step, work.cpus, work.nodes, kind)


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
    return tuple(
        _group(entries, role, [report for entry in entries for report in by_index.get(entry.work_index, ())])
        for entries in alike.values()
        for role in entries[0].roles
    )


def _group(entries: Sequence[WorkGroup], role: int, reports: Iterable[WorkerReport]) -> Group:
    """Those of one role, of works that are declared alike."""
    first = entries[0]
    own = sorted((report for report in reports if first.role(report.place or 0) == role), key=lambda r: r.index)
    came = Counter(work for work, _ in {(report.work_index, report.index) for report in own})
    return Group(
        first.cgroup,
        first.work_type,
        first.cpus,
        tuple(own),
        sum(max(0, entry.roles[role] - came[entry.work_index]) for entry in entries),
        workers=sum(entry.roles[role] for entry in entries),
        step=first.step,
        nodes=first.nodes,
        is_fair=first.policy not in REALTIME,
        role=role,
        has_others=len(first.roles) > 1,
        fewest_cpus=min((e.fewest_cpus for e in entries if e.fewest_cpus is not None), default=None),
    )


def work_type_label(works: Iterable[WorkGroup]) -> str:
    """The scenario's work types for the sidecar, in declared order: ``SpinWait`` or ``SpinWait+PipeIo``."""
    return "+".join(dict.fromkeys(work.work_type for work in works)) or DEFAULT_WORK_TYPE
