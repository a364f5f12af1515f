"""The flat program the guest agent runs: every cpuset, count and duration resolved.

These values are what the compiler makes and ``encode`` turns into bytes; the
agent parses no YAML and computes no cpuset. All times are guest nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ktstr.record.vocabulary import SchedPolicy, WorkType


@dataclass(frozen=True)
class StartScheduler:
    """Start a scheduler binary already packed in the image and await its attach."""

    argv: tuple[str, ...]
    attach_timeout_ns: int


@dataclass(frozen=True)
class StopScheduler:
    """Ask the scheduler to end (SIGINT, then SIGKILL) and verify that it detached."""

    timeout_ns: int


@dataclass(frozen=True)
class AddCgroup:
    """Create a cgroup; ``cpus`` None leaves ``cpuset.cpus`` unwritten. Index = order of AddCgroup ops."""

    name: str
    cpus: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Worker:
    """One worker process: where it starts in the spawn order and its delay after release."""

    start_offset_ns: int = 0


@dataclass(frozen=True)
class Spawn:
    """Fork workers of one kind, blocked, into a cgroup (index into AddCgroup order; -1 = agent's own).

    ``work_index`` numbers the work entries of the whole scenario; reports carry it back.
    ``params`` are the work type's numbers, in the order of ``record.vocabulary``.
    """

    cgroup: int
    work_index: int
    work_type: WorkType
    workers: tuple[Worker, ...]
    params: tuple[int, ...] = ()
    policy: SchedPolicy = "normal"
    priority: int = 0
    nice: int = 0
    affinity: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Release:
    """Let every blocked worker begin; ``order`` is the release order over all spawned workers."""

    order: tuple[int, ...]


@dataclass(frozen=True)
class Hold:
    """Let the workload run for this long."""

    duration_ns: int


@dataclass(frozen=True)
class Delay:
    """A perturbation: the agent sleeps this long before the next op."""

    duration_ns: int


@dataclass(frozen=True)
class StopWorkers:
    """Stop every worker and send their reports; ``timeout_ns`` is shared by all of them."""

    timeout_ns: int = 5_000_000_000


@dataclass(frozen=True)
class RemoveCgroups:
    """Drain and remove every cgroup, deepest first."""


Op: TypeAlias = (
    StartScheduler | StopScheduler | AddCgroup | Spawn | Release | Hold | Delay | StopWorkers | RemoveCgroups
)


@dataclass(frozen=True)
class Program:
    """A whole scenario for one cell.

    ``deadline_ns`` is the virtual deadline the agent keeps, from its own start. ``seed`` is
    carried for the record only: what it perturbs is already in the ops.
    """

    seed: int
    deadline_ns: int
    ops: tuple[Op, ...] = field(default_factory=tuple)
