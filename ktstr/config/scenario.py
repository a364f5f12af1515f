"""What a scenario declares, as plain frozen values: cpusets, workers, cgroups, holds, steps.

Nothing here knows a topology; the scenario compiler resolves it. ``where``: file:line:col and field, for errors that
need the topology.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ktstr.record.vocabulary import DEFAULT_WORK_TYPE

CpusetKind: TypeAlias = Literal["llc", "numa", "range", "disjoint", "overlap", "exact", "except", "all"]
AffinityKind: TypeAlias = Literal["cpuset", "random", "llc_aligned", "single", "lowest", "spread", "all", "each"]
MemPolicyMode: TypeAlias = Literal[
    "bind", "preferred", "interleave", "local", "preferred_many", "weighted_interleave"
]  # fmt: skip
MemPolicyFlag: TypeAlias = Literal["static_nodes", "relative_nodes", "numa_balancing"]
HoldKind: TypeAlias = Literal["fraction", "fixed", "loop"]


@dataclass(frozen=True)
class Cpuset:
    """A cpuset as declared; resolved against a topology by the scenario compiler.

    ``args``: llc (index,); numa (node,); range (start_frac, end_frac); disjoint (index, of);
    overlap (index, of, frac); exact the CPU numbers. ``inner``: what range, disjoint and overlap are parts of, None for
    the usable CPUs; of ``except``, what is left out of those.
    """

    kind: CpusetKind
    args: tuple[float, ...] = ()
    where: str = field(default="", compare=False)
    inner: Cpuset | None = None


@dataclass(frozen=True)
class Count:
    """A number that a number of CPUs decides: ``per_cpu`` for each, rounded down, at least ``low``, at most
    ``high``."""

    per_cpu: float
    low: int
    high: int

    def of(self, cpus: int) -> int:
        return min(max(math.floor(self.per_cpu * cpus + 1e-9), self.low), self.high)


@dataclass(frozen=True)
class Affinity:
    """The CPUs that workers pin themselves to, of their cgroup's cpuset (all CPUs where it has none).

    ``cpuset``: those of ``cpusets[0]``. ``random``: for each worker half of them, drawn. ``llc_aligned``: those of the
    LLC that has the most of them. ``single``: the lowest. ``lowest``: the ``number`` lowest. ``spread``: one for each
    worker in turn, from the one at place ``number`` on. ``all``: every CPU of the machine. ``each``: ``cpusets`` has
    one for each worker, in turn.
    """

    kind: AffinityKind
    cpusets: tuple[Cpuset, ...] = ()
    where: str = field(default="", compare=False)
    number: int = 0


@dataclass(frozen=True)
class MemPolicy:
    """A memory policy, as set_mempolicy(2) has them. ``nodes``: empty for ``local``."""

    mode: MemPolicyMode
    nodes: tuple[int, ...] = ()
    flags: tuple[MemPolicyFlag, ...] = ()
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Deadline:
    """The reservation of SCHED_DEADLINE: so much runtime until the deadline, in every period."""

    runtime_ns: int
    deadline_ns: int
    period_ns: int


@dataclass(frozen=True)
class Work:
    """One kind of worker in a cgroup. ``params`` holds the work type's numbers in ns or counts.

    ``count``: how many there are, by the CPUs that their cgroup can use when they start; ``workers`` is then the least.

    ``threads``: workers are threads of one process; ``pcomm``: what that process is called, works of one name in one
    cgroup share it. ``comm``: what each worker is called. ``deadline``: for policy ``deadline`` and no other.
    ``swappable``: ``work_type=`` may replace its type. ``payload``: the program that a ``Custom`` worker is.
    ``cgroup_namespace``: workers see their own cgroup as the root.
    """

    work_type: str = DEFAULT_WORK_TYPE
    workers: int = 2
    params: tuple[tuple[str, int], ...] = ()
    policy: str = "normal"
    priority: int = 0
    nice: int = 0
    affinity: Affinity | None = None
    deadline: Deadline | None = None
    mem_policy: MemPolicy | None = None
    threads: bool = False
    comm: str = ""
    pcomm: str = ""
    swappable: bool = False
    payload: str | None = None
    cgroup_namespace: bool = False
    count: Count | None = None
    where: str = field(default="", compare=False)


Controls: TypeAlias = tuple[tuple[str, str], ...]
"""Files of a cgroup and what is written to each, in order and in the kernel's words: ("cpu.max", "25000 100000")."""


@dataclass(frozen=True)
class Copy:
    """One of several cgroups that are declared as one: the ``index``-th, on machines whose usable CPUs make ``count``
    more than that."""

    index: int
    count: Count


@dataclass(frozen=True)
class Cgroup:
    """A cgroup by its path below the test's own, with its workers; none without ``works``.

    Isolation is judged by ``expect_cpuset``, else by ``cpuset``. ``mems``: the nodes of ``cpuset.mems``. ``copy``:
    where machines decide whether it is there.
    """

    name: str
    works: tuple[Work, ...] = ()
    cpuset: Cpuset | None = None
    expect_cpuset: Cpuset | None = None
    mems: tuple[int, ...] | None = None
    controls: Controls = ()
    where: str = field(default="", compare=False)
    copy: Copy | None = None


@dataclass(frozen=True)
class Hold:
    """How long a step lasts: a ``fraction`` of the test's duration; ``fixed``, for ``ns``; ``loop``: until the test's
    duration is over, with the step's ops again every ``ns``."""

    kind: HoldKind = "fraction"
    fraction: float = 1.0
    ns: int = 0


FULL = Hold()
