"""What a scenario declares, as plain frozen values: cpusets, workers, cgroups, holds, steps.

Nothing here knows a topology; the scenario compiler resolves it. ``where``: file:line:col and field, for errors that
need the topology.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ktstr.record.vocabulary import DEFAULT_WORK_TYPE

CpusetKind: TypeAlias = Literal["llc", "numa", "range", "disjoint", "overlap", "exact"]
AffinityKind: TypeAlias = Literal["cpuset", "random", "llc_aligned", "single", "all", "each"]
MemPolicyMode: TypeAlias = Literal[
    "bind", "preferred", "interleave", "local", "preferred_many", "weighted_interleave"
]  # fmt: skip
MemPolicyFlag: TypeAlias = Literal["static_nodes", "relative_nodes", "numa_balancing"]
HoldKind: TypeAlias = Literal["fraction", "fixed", "loop"]


@dataclass(frozen=True)
class Cpuset:
    """A cpuset as declared; resolved against a topology by the scenario compiler.

    ``args``: llc (index,); numa (node,); range (start_frac, end_frac); disjoint (index, of);
    overlap (index, of, frac); exact the CPU numbers.
    """

    kind: CpusetKind
    args: tuple[float, ...]
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Affinity:
    """The CPUs that workers pin themselves to, of their cgroup's cpuset (all CPUs where it has none).

    ``cpuset``: those of ``cpusets[0]``. ``random``: for each worker half of them, drawn. ``llc_aligned``: those of the
    LLC that has the most of them. ``single``: the lowest. ``all``: every CPU of the machine. ``each``: ``cpusets`` has
    one for each worker, in turn.
    """

    kind: AffinityKind
    cpusets: tuple[Cpuset, ...] = ()
    where: str = field(default="", compare=False)


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
    where: str = field(default="", compare=False)


Controls: TypeAlias = tuple[tuple[str, str], ...]
"""Files of a cgroup and what is written to each, in order and in the kernel's words: ("cpu.max", "25000 100000")."""


@dataclass(frozen=True)
class Cgroup:
    """A cgroup by its path below the test's own, with its workers; none without ``works``.

    Isolation is judged by ``expect_cpuset``, else by ``cpuset``. ``mems``: the nodes of ``cpuset.mems``.
    """

    name: str
    works: tuple[Work, ...] = ()
    cpuset: Cpuset | None = None
    expect_cpuset: Cpuset | None = None
    mems: tuple[int, ...] | None = None
    controls: Controls = ()
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Hold:
    """How long a step lasts: a ``fraction`` of the test's duration; ``fixed``, for ``ns``; ``loop``: until the test's
    duration is over, with the step's ops again every ``ns``."""

    kind: HoldKind = "fraction"
    fraction: float = 1.0
    ns: int = 0


FULL = Hold()
