"""The program that the guest agent runs: tables of what there is, and the ops that act on it.

These values are what the compiler makes and ``encode`` turns into bytes; the agent parses no YAML and computes no
cpuset. An id is a place in a table. All times are guest nanoseconds. What a value may be is checked by ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.record.vocabulary import SchedPolicy, WorkType

MemPolicyMode: TypeAlias = Literal[
    "bind", "preferred", "interleave", "local", "preferred_many", "weighted_interleave"
]  # fmt: skip
Controller: TypeAlias = Literal["memory", "io", "pids"]
OnError: TypeAlias = Literal["fatal", "record"]
ScopeName: TypeAlias = Literal["any", "backdrop", "step"]
OWN_CGROUP = -1


@dataclass(frozen=True)
class Cgroup:
    """A cgroup by its path below the scenario's own; without ``cpus`` or ``mems`` (nodes) that file is not written.

    What it is to hold beside those, a ``WriteCgroup`` writes.
    """

    name: str
    cpus: tuple[int, ...] | None = None
    mems: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Worker:
    """One worker.

    ``affinity``: in place of its work's. ``start_offset_ns``: its delay after its release. ``order``: its place among
    all workers of the program when several are released by one op; None is its number, and then that of every worker.
    """

    start_offset_ns: int = 0
    order: int | None = None
    affinity: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Deadline:
    """The reservation of SCHED_DEADLINE: so much runtime until the deadline, in every period."""

    runtime_ns: int
    deadline_ns: int
    period_ns: int


@dataclass(frozen=True)
class MemPolicy:
    """A memory policy (set_mempolicy(2)). ``nodes``: None for ``local``. ``flags``: of the mode, as the call has."""

    mode: MemPolicyMode
    nodes: tuple[int, ...] | None = None
    flags: int = 0


@dataclass(frozen=True)
class Work:
    """Workers of one kind; reports carry its id.

    ``threads``: its workers are threads of one process, which works of one cgroup and one ``pcomm`` share that are
    spawned before any of them is released or moved; a Move takes all of them, or is an error. ``comm``: what each
    worker is called, at most 15 bytes; empty for worker/NUMBER. ``deadline``: of policy ``deadline`` only. ``pages``:
    tell where its memory is. ``cgroup_namespace``: they see their cgroup as the root.

    ``cgroup``: an id, or OWN_CGROUP for the agent's own. ``params``: the work type's numbers, in the order of
    ``record.vocabulary``. ``affinity``: the CPUs its workers pin themselves to.
    """

    type: WorkType
    cgroup: int
    workers: tuple[Worker, ...]
    params: tuple[int, ...] = ()
    policy: SchedPolicy = "normal"
    priority: int = 0
    nice: int = 0
    affinity: tuple[int, ...] | None = None
    deadline: Deadline | None = None
    mem_policy: MemPolicy | None = None
    threads: bool = False
    comm: str = ""
    pcomm: str = ""
    pages: bool = False
    cgroup_namespace: bool = False


@dataclass(frozen=True)
class Payload:
    """A program in the image and its arguments; ``cgroup``, ``affinity``, ``policy`` and the like as for a work.

    ``env``: NAME=VALUE, beside the agent's own. ``folder``: where it starts; empty: where the agent is.
    """

    argv: tuple[str, ...]
    cgroup: int = OWN_CGROUP
    affinity: tuple[int, ...] | None = None
    env: tuple[str, ...] = ()
    folder: str = ""
    policy: SchedPolicy = "normal"
    priority: int = 0
    nice: int = 0


@dataclass(frozen=True)
class Selector:
    """Workers, or cgroups: all that agree with each part, of which None is any.

    ``scope``: made anywhere, outside of every step, or in the innermost step that is being run. ``first_worker`` and
    ``workers``: some workers of one work, counted within it; 0 workers are all of them.
    """

    scope: ScopeName = "any"
    cgroup: int | None = None
    work: int | None = None
    first_worker: int = 0
    workers: int = 0


EVERYTHING = Selector()


@dataclass(frozen=True, kw_only=True)
class _AnyOp:
    """``on_error``: whether its failure ends the run or is recorded."""

    on_error: OnError = "fatal"


@dataclass(frozen=True)
class StartScheduler(_AnyOp):
    """Start a scheduler binary already packed in the image and await its attach."""

    payload: int
    timeout_ns: int


@dataclass(frozen=True)
class StopScheduler(_AnyOp):
    """Ask the scheduler to end (SIGINT, then SIGKILL) and verify that it detached."""

    timeout_ns: int


@dataclass(frozen=True)
class AddCgroup(_AnyOp):
    """Create a cgroup."""

    cgroup: int


@dataclass(frozen=True)
class Spawn(_AnyOp):
    """Fork the workers of a work, blocked, into its cgroup."""

    work: int


@dataclass(frozen=True)
class Release(_AnyOp):
    """Let blocked workers begin, in the order they declare."""

    who: Selector = EVERYTHING


@dataclass(frozen=True)
class Hold(_AnyOp):
    """Let the workload run for this long."""

    duration_ns: int


@dataclass(frozen=True)
class Delay(_AnyOp):
    """A perturbation: the agent sleeps this long, and a time below ``jitter_ns`` that it draws, before the next op."""

    duration_ns: int
    jitter_ns: int = 0


@dataclass(frozen=True)
class StopWorkers(_AnyOp):
    """Stop workers and send their reports; ``timeout_ns`` is shared by all of them."""

    who: Selector = EVERYTHING
    timeout_ns: int = 5_000_000_000


@dataclass(frozen=True)
class RemoveCgroups(_AnyOp):
    """Drain and remove cgroups, deepest first; ``who`` names no work."""

    who: Selector = EVERYTHING


@dataclass(frozen=True)
class Scope(_AnyOp):
    """A block: what was made in it is taken down at its end, within ``timeout_ns``. ``step``: it is a step."""

    body: tuple[Op, ...]
    timeout_ns: int = 5_000_000_000
    step: bool = False


@dataclass(frozen=True)
class Repeat(_AnyOp):
    """A block that is run again: ``count`` times, for ``duration_ns``, or until the first of both; 0 is no limit.

    ``interval_ns`` passes between two passes.
    """

    body: tuple[Op, ...]
    count: int = 0
    duration_ns: int = 0
    interval_ns: int = 0


@dataclass(frozen=True)
class Checkpoint(_AnyOp):
    """Send what each worker did since the last checkpoint, under the number of a phase."""

    phase: int


@dataclass(frozen=True)
class Write(_AnyOp):
    """Write a text to a file of the guest. ``restore``: what it held is written back when the op's scope ends."""

    path: str
    text: str
    restore: bool = False


@dataclass(frozen=True)
class Read(_AnyOp):
    """Send what a file of the guest holds."""

    path: str


@dataclass(frozen=True)
class Run(_AnyOp):
    """Start a payload."""

    payload: int


@dataclass(frozen=True)
class Wait(_AnyOp):
    """Wait for the end of a payload, at most for ``timeout_ns``."""

    payload: int
    timeout_ns: int


@dataclass(frozen=True)
class Kill(_AnyOp):
    """End a payload and its process group. What has left that ends with its cgroup."""

    payload: int


@dataclass(frozen=True)
class Move(_AnyOp):
    """Move workers into a cgroup."""

    who: Selector
    cgroup: int


@dataclass(frozen=True)
class SetCpus(_AnyOp):
    """Change the cpuset of a cgroup."""

    cgroup: int
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class SetAffinity(_AnyOp):
    """Change the affinity of workers."""

    who: Selector
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class ClearCpus(_AnyOp):
    """Give a cgroup the CPUs of its parent."""

    cgroup: int


@dataclass(frozen=True)
class WriteCgroup(_AnyOp):
    """Write a text to a file of a cgroup, such as ``cpu.max``."""

    cgroup: int
    file: str
    text: str


@dataclass(frozen=True)
class ReadCgroup(_AnyOp):
    """Send what a file of a cgroup holds."""

    cgroup: int
    file: str


Op: TypeAlias = (
    StartScheduler
    | StopScheduler
    | AddCgroup
    | Spawn
    | Release
    | Hold
    | Delay
    | StopWorkers
    | RemoveCgroups
    | Scope
    | Repeat
    | Checkpoint
    | Write
    | Read
    | Run
    | Wait
    | Kill
    | Move
    | SetCpus
    | SetAffinity
    | ClearCpus
    | WriteCgroup
    | ReadCgroup
)


@dataclass(frozen=True)
class Program:
    """A whole scenario for one cell.

    ``deadline_ns`` is the virtual deadline the agent keeps, from its own start. ``seed``: what a Delay's jitter is
    drawn from; what the host perturbed is already in the ops. Workers are numbered in the order in which ops first
    spawn their works; those of works that are never spawned come last. ``controllers``: those of cgroups that it
    cannot do without, beside cpuset. ``cpu_controller``: also enable that, where there is one.
    """

    seed: int
    deadline_ns: int
    cgroups: tuple[Cgroup, ...] = ()
    works: tuple[Work, ...] = ()
    payloads: tuple[Payload, ...] = ()
    ops: tuple[Op, ...] = ()
    controllers: tuple[Controller, ...] = ()
    cpu_controller: bool = True


def flat(ops: tuple[Op, ...]) -> Iterator[Op]:
    """Every op in the order in which the agent numbers them: a block before what is inside."""
    for op in ops:
        yield op
        if isinstance(op, (Scope, Repeat)):
            yield from flat(op.body)


def spawn_order(program: Program) -> tuple[int, ...]:
    """The works in the order in which their workers are numbered."""
    spawned = [op.work for op in flat(program.ops) if isinstance(op, Spawn)]
    return tuple(dict.fromkeys((*spawned, *range(len(program.works)))))
