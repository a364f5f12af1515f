"""The program that the guest agent runs: tables of what there is, and the ops that act on it.

These values are what the compiler makes and ``encode`` turns into bytes; the agent parses no YAML and computes no
cpuset. An id is a place in a table. All times are guest nanoseconds. What a value may be is checked by ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.record.vocabulary import SchedPolicy, WorkType

OnError: TypeAlias = Literal["fatal", "record"]
ScopeName: TypeAlias = Literal["any", "backdrop", "step"]
OWN_CGROUP = -1


@dataclass(frozen=True)
class Cgroup:
    """A cgroup by its path below the scenario's own; without ``cpus`` or ``mems`` (nodes) that file is not written."""

    name: str
    cpus: tuple[int, ...] | None = None
    mems: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Worker:
    """One worker process.

    ``start_offset_ns``: its delay after its release. ``order``: its place among all workers of the program when
    several are released by one op; None is its number, and then that of every worker.
    """

    start_offset_ns: int = 0
    order: int | None = None


@dataclass(frozen=True)
class Work:
    """Workers of one kind; reports carry its id.

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


@dataclass(frozen=True)
class Payload:
    """A program in the image and its arguments; ``cgroup`` and ``affinity`` as for a work."""

    argv: tuple[str, ...]
    cgroup: int = OWN_CGROUP
    affinity: tuple[int, ...] | None = None


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
)


@dataclass(frozen=True)
class Program:
    """A whole scenario for one cell.

    ``deadline_ns`` is the virtual deadline the agent keeps, from its own start. ``seed``: what a Delay's jitter is
    drawn from; what the host perturbed is already in the ops. Workers are numbered in the order in which ops first
    spawn their works; those of works that are never spawned come last.
    """

    seed: int
    deadline_ns: int
    cgroups: tuple[Cgroup, ...] = ()
    works: tuple[Work, ...] = ()
    payloads: tuple[Payload, ...] = ()
    ops: tuple[Op, ...] = ()


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
