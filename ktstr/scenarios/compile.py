"""Compiles a declared test for one topology, scheduler and seed into the program the agent runs.

The setup, which cells of other seeds and tests may share: start the scheduler. The program: make the cgroups,
spawn every worker blocked, release them in order, hold, stop them and collect, remove the cgroups, stop the
scheduler. A seed permutes and delays its steps (``perturb``), and nothing else depends on it.

Virtual deadlines: of the setup, twice the attach timeout (a
loader that fails is started once more) + the time limit of stopping + MARGIN_NS; of the program, duration +
the longest start offset + all delays + the time limits of stopping + MARGIN_NS for making and removing what is
small. A guest that passes one is stuck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import cast

from ktstr import cpulist
from ktstr.checks.model import WorkGroup
from ktstr.checks.settings import Setting
from ktstr.config.model import Builtin, SchedulerDecl, SchedulerOp, TestDecl
from ktstr.config.model import Cgroup as DeclaredCgroup
from ktstr.config.model import Work as DeclaredWork
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.record.vocabulary import WORK_TYPES, SchedPolicy, WorkType
from ktstr.scenarios import cpusets
from ktstr.scenarios.perturb import Perturbations, perturb
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Delay,
    Hold,
    Op,
    Payload,
    Program,
    Read,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Work,
    Worker,
    Write,
)
from ktstr.scenarios.scheduler_ops import Loader, SchedulerLife, scheduler_life
from ktstr.schedulers.surroundings import HOME, other_home

STOP_WORKERS_NS = 5_000_000_000
STOP_SCHEDULER_NS = 5_000_000_000
MARGIN_NS = 10_000_000_000
MAX_ARGS, MAX_ARG_BYTES = 64, 8192  # what the agent takes, the scheduler's path included


@dataclass(frozen=True)
class Other:
    """A scheduler that may take the place of the one under test: with its attach timeout, and its file name."""

    scheduler: SchedulerDecl
    binary: str


@dataclass(frozen=True)
class Programs:
    """The schedulers in a guest's image that are programs. ``binary``: the file name of the one under test; ``others``:
    those that may take its place, by name."""

    binary: str
    others: Mapping[str, Other] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiled:
    """A program, and the tables that give its numbers their names. ``setup`` comes before it, None where there is
    nothing to do.

    ``works`` is by work index; its ``cpus`` are those isolation allows (expect_cpuset, else cpuset). ``settings``: what
    the program reads back after it wrote it, by the place of the op that reads it.
    """

    setup: Program | None
    program: Program
    perturbations: Perturbations
    cgroup_names: tuple[str, ...]
    works: tuple[WorkGroup, ...]
    settings: Mapping[int, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class Writes:
    """Settings of the guest's kernel, in order: before the workload, and after it."""

    before: tuple[Setting, ...]
    after: tuple[Setting, ...]


@dataclass(frozen=True)
class _Crew:
    """The workers of one work: everything about them but what the seed decides."""

    cgroup: int
    work: DeclaredWork
    params: tuple[int, ...]
    affinity: tuple[int, ...] | None


@dataclass(frozen=True)
class _Plan:
    """Everything that does not depend on the seed."""

    cgroups: tuple[Cgroup, ...]
    crews: tuple[_Crew, ...]
    works: tuple[WorkGroup, ...]
    workers: int

    @property
    def steps(self) -> int:
        return len(self.cgroups) + len(self.crews) + 2


def compile_test(
    test: TestDecl, topology: Topology, scheduler: SchedulerDecl, seed: int, programs: Programs | None = None
) -> Compiled:
    """The program of one cell.

    ``programs``: None for a scheduler of the kernel's own. Raises InputError, with the place in ktstr.yaml, when a
    cpuset or affinity does not fit the topology, or another scheduler not the place that it is to take.
    """
    plan = _plan(test.cgroups, topology)
    shifts = perturb(seed, len(plan.crews), plan.workers, plan.steps, test.duration_ns)
    setup = compile_setup(test, scheduler, programs)
    life = _life(test, scheduler, programs, setup)
    body = _body(plan, shifts, life.ops)
    stop = [StopScheduler(STOP_SCHEDULER_NS)] if setup and life.attached else []
    writes = _writes(scheduler)
    deadline = test.duration_ns + max(shifts.start_offsets_ns, default=0) + sum(shifts.delays_ns)
    deadline += life.longest_ns + STOP_WORKERS_NS + STOP_SCHEDULER_NS + MARGIN_NS
    ops = (*_verified(writes.before), *body, *stop, *_verified(writes.after))
    program = Program(seed, deadline, plan.cgroups, _works(plan, shifts), life.payloads, ops)
    names = tuple(c.name for c in plan.cgroups)
    return Compiled(setup, program, shifts, names, plan.works, _settings(writes, len(ops)))


def _life(test: TestDecl, scheduler: SchedulerDecl, programs: Programs | None, setup: Program | None) -> SchedulerLife:
    """What is done to the scheduler while the workload runs. Raises InputError for one of the kernel's own."""
    if setup is None or programs is None or scheduler.attach_timeout_ns is None:
        if test.scheduler_ops:
            raise InputError(
                f"{test.where} tests.{test.name}.scheduler_ops: found scheduler {scheduler.name}, one of the"
                " kernel's own, expected one that can be detached",
                fix="exclude it for this test",
            )
        return SchedulerLife((Hold(test.duration_ns),), (), 0, attached=False)
    own = Loader(setup.payloads[0], scheduler.attach_timeout_ns)
    replaced = [_replacement(test, op, scheduler, programs) for op in test.scheduler_ops if op.op == "replace"]
    return scheduler_life(test.scheduler_ops, test.duration_ns, own, replaced, STOP_SCHEDULER_NS)


def _replacement(test: TestDecl, op: SchedulerOp, scheduler: SchedulerDecl, programs: Programs) -> Loader:
    """What one ``replace`` starts. Raises InputError for a scheduler that looks elsewhere for the test's cgroups."""
    bare = replace(test, scheduler_args=())
    if op.scheduler is None:
        coming, binary, home = replace(scheduler, args=op.args or ()), programs.binary, HOME
    else:
        other = programs.others[op.scheduler]
        coming, binary, home = other.scheduler, other.binary, other_home(op.scheduler)
        if op.args is not None:
            coming = replace(coming, args=op.args)
    if coming.cgroup_parent != scheduler.cgroup_parent:
        raise InputError(
            f"{test.where} tests.{test.name}.scheduler_ops: found scheduler {coming.name} with cgroup_parent"
            f" {coming.cgroup_parent or 'none'} in the place of {scheduler.name}, expected the same as that one's,"
            f" {scheduler.cgroup_parent or 'none'}: the test's cgroups stay where they are"
        )
    if coming.attach_timeout_ns is None:
        raise ValueError(f"scheduler {coming.name} runs a binary; a timeout is needed")
    return Loader(Payload(_argv(bare, coming, binary, home)), coming.attach_timeout_ns)


def _writes(scheduler: SchedulerDecl) -> Writes:
    """What is written for a scheduler of the kernel's own: before the workload, and after it."""
    kind = scheduler.kind
    if not isinstance(kind, Builtin):
        return Writes((), ())
    return Writes(*(tuple(Setting(*pair) for pair in pairs) for pairs in (kind.enable, kind.disable)))


def _verified(settings: tuple[Setting, ...]) -> list[Op]:
    """Each written, then read back."""
    return [op for one in settings for op in (Write(one.path, one.value), Read(one.path))]


def _settings(writes: Writes, ops: int) -> dict[int, Setting]:
    """By the place of the op that reads each back; the program has ``ops`` and no blocks."""
    first = {2 * i + 1: one for i, one in enumerate(writes.before)}
    start = ops - 2 * len(writes.after)
    return first | {start + 2 * i + 1: one for i, one in enumerate(writes.after)}


def compile_setup(test: TestDecl, scheduler: SchedulerDecl, programs: Programs | None) -> Program | None:
    """What attaches a scheduler, None for one of the kernel's own. Raises InputError for too many arguments."""
    if isinstance(scheduler.kind, Builtin):
        return None
    if programs is None or scheduler.attach_timeout_ns is None:
        raise ValueError(f"scheduler {scheduler.name} runs a binary; its name in the image and a timeout are needed")
    wait_ns = scheduler.attach_timeout_ns
    payload = Payload(_argv(test, scheduler, programs.binary))
    deadline = 2 * wait_ns + STOP_SCHEDULER_NS + MARGIN_NS
    return Program(0, deadline, payloads=(payload,), ops=(StartScheduler(0, wait_ns),))


def _argv(test: TestDecl, scheduler: SchedulerDecl, binary: str, home: str = HOME) -> tuple[str, ...]:
    config = () if scheduler.config is None else ("--config", f"{home}/files/{scheduler.config}")
    parent = () if scheduler.cgroup_parent is None else ("--cell-parent-cgroup", scheduler.cgroup_parent)
    argv = (f"{home}/bin/{binary}", *config, *parent, *scheduler.args, *test.scheduler_args)
    size = sum(len(arg.encode()) + 1 for arg in argv)
    if len(argv) > MAX_ARGS or size > MAX_ARG_BYTES:
        raise InputError(
            f"{scheduler.where} schedulers.{scheduler.name}.args: found {len(argv) - 1} arguments of {size} bytes,"
            f" those of test {test.name} included, expected at most {MAX_ARGS - 1} of {MAX_ARG_BYTES}"
        )
    return argv


def _body(plan: _Plan, shifts: Perturbations, held: tuple[Op, ...]) -> list[Op]:
    delays = iter(shifts.delays_ns)
    ops: list[Op] = []

    def step(op: Op) -> None:
        if delay := next(delays):
            ops.append(Delay(delay))
        ops.append(op)

    for cgroup in range(len(plan.cgroups)):
        step(AddCgroup(cgroup))
    for work in shifts.spawn_order:
        step(Spawn(work))
    step(Release())
    ops.extend(held)
    step(StopWorkers(timeout_ns=STOP_WORKERS_NS))
    ops.append(RemoveCgroups())
    return ops


def _works(plan: _Plan, shifts: Perturbations) -> tuple[Work, ...]:
    """By work index; what the seed decides for a worker goes by its number, which follows from the spawn order."""
    places = {number: place for place, number in enumerate(shifts.release_order)}
    workers = (Worker(offset, places[number]) for number, offset in enumerate(shifts.start_offsets_ns))
    works = {i: _work(plan.crews[i], tuple(islice(workers, plan.works[i].workers))) for i in shifts.spawn_order}
    return tuple(works[i] for i in range(len(works)))


def _work(crew: _Crew, workers: tuple[Worker, ...]) -> Work:
    work = crew.work
    return Work(
        cast(WorkType, work.work_type),
        crew.cgroup,
        workers,
        crew.params,
        cast(SchedPolicy, work.policy),
        work.priority,
        work.nice,
        crew.affinity,
    )


@lru_cache(maxsize=1024)
def _plan(cgroups: tuple[DeclaredCgroup, ...], topology: Topology) -> _Plan:
    """The scenario on this topology; the same for every kernel, scheduler and seed."""
    made: list[Cgroup] = []
    crews: list[_Crew] = []
    works: list[WorkGroup] = []
    for index, cgroup in enumerate(cgroups):
        confined = None if cgroup.cpuset is None else cpusets.resolve(cgroup.cpuset, topology)
        expected = cgroup.expect_cpuset
        judged_by = confined if expected is None else cpusets.resolve(expected, topology)
        made.append(Cgroup(cgroup.name, confined))
        for work in cgroup.works:
            params = _params(work)
            crews.append(_Crew(index, work, params, _affinity(work, confined, topology)))
            works.append(_group(len(works), cgroup.name, work, params, judged_by))
    return _Plan(tuple(made), tuple(crews), tuple(works), sum(w.workers for w in works))


def _group(
    index: int, cgroup: str, work: DeclaredWork, params: tuple[int, ...], cpus: tuple[int, ...] | None
) -> WorkGroup:
    return WorkGroup(index, cgroup, work.work_type, work.workers, cpus, params, work.policy, work.priority, work.nice)


def _affinity(work: DeclaredWork, confined: tuple[int, ...] | None, topology: Topology) -> tuple[int, ...] | None:
    """The CPUs, which must exist and of which one must be in the cpuset: a pin to none is no pin."""
    if not work.affinity:
        return None
    where = f"{work.where}.affinity"
    pinned = cpusets.exact(work.affinity, topology, where)
    if confined is not None and not (pinned := tuple(cpu for cpu in pinned if cpu in confined)):
        raise InputError(
            f"{where}: found CPUs {cpulist.render(work.affinity)}, expected one of the cpuset's CPUs,"
            f" {cpulist.render(confined)} (topology {topology.label})"
        )
    return pinned


def _params(work: DeclaredWork) -> tuple[int, ...]:
    """The work type's numbers in the agent's order; what was not declared has its default."""
    given = dict(work.params)
    return tuple(given.get(p.name, p.default) for p in WORK_TYPES[work.work_type].params)
