"""Compiles a declared test for one topology, scheduler and seed into the program the agent runs.

The setup, which cells of other seeds and tests may share: start the scheduler. The program: make the cgroups,
spawn every worker blocked, release them in order, hold, stop them and collect, remove the cgroups, stop the
scheduler. A seed permutes and delays its steps (``perturb``), and nothing else depends on it.

Virtual deadlines: of the setup, attach timeout + the time limit of stopping + MARGIN_NS; of the program, duration +
the longest start offset + all delays + the time limits of stopping + MARGIN_NS for making and removing what is
small. A guest that passes one is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import cast

from ktstr import cpulist
from ktstr.checks.model import WorkGroup
from ktstr.config.model import Builtin, SchedulerDecl, TestDecl
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
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Work,
    Worker,
)

STOP_WORKERS_NS = 5_000_000_000
STOP_SCHEDULER_NS = 5_000_000_000
MARGIN_NS = 10_000_000_000
SCHEDULER_DIR = "/sched/bin"
MAX_ARGS, MAX_ARG_BYTES = 64, 8192  # what the agent takes, the scheduler's path included


@dataclass(frozen=True)
class Compiled:
    """A program, and the tables that give its numbers their names. ``setup`` comes before it, None where there is
    nothing to do.

    ``works`` is by work index; its ``cpus`` are those isolation allows (expect_cpuset, else cpuset).
    """

    setup: Program | None
    program: Program
    perturbations: Perturbations
    cgroup_names: tuple[str, ...]
    works: tuple[WorkGroup, ...]


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
    test: TestDecl, topology: Topology, scheduler: SchedulerDecl, seed: int, binary: str | None = None
) -> Compiled:
    """The program of one cell.

    ``binary`` is the scheduler's file name in the image, None for one of the kernel's own. Raises
    InputError, with the place in ktstr.yaml, when a cpuset or affinity does not fit the topology.
    """
    plan = _plan(test.cgroups, topology)
    shifts = perturb(seed, len(plan.crews), plan.workers, plan.steps, test.duration_ns)
    body = _body(plan, shifts, test.duration_ns)
    setup = compile_setup(test, scheduler, binary)
    stop = [StopScheduler(STOP_SCHEDULER_NS)] if setup else []
    deadline = test.duration_ns + max(shifts.start_offsets_ns, default=0) + sum(shifts.delays_ns)
    deadline += STOP_WORKERS_NS + STOP_SCHEDULER_NS + MARGIN_NS
    program = Program(seed, deadline, plan.cgroups, _works(plan, shifts), (), (*body, *stop))
    return Compiled(setup, program, shifts, tuple(c.name for c in plan.cgroups), plan.works)


def compile_setup(test: TestDecl, scheduler: SchedulerDecl, binary: str | None) -> Program | None:
    """What attaches a scheduler, None for one of the kernel's own. Raises InputError for too many arguments."""
    if isinstance(scheduler.kind, Builtin):
        return None
    if binary is None or scheduler.attach_timeout_ns is None:
        raise ValueError(f"scheduler {scheduler.name} runs a binary; its name in the image and a timeout are needed")
    wait_ns = scheduler.attach_timeout_ns
    payload = Payload(_argv(test, scheduler, binary))
    deadline = wait_ns + STOP_SCHEDULER_NS + MARGIN_NS
    return Program(0, deadline, payloads=(payload,), ops=(StartScheduler(0, wait_ns),))


def _argv(test: TestDecl, scheduler: SchedulerDecl, binary: str) -> tuple[str, ...]:
    argv = (f"{SCHEDULER_DIR}/{binary}", *scheduler.args, *test.scheduler_args)
    size = sum(len(arg.encode()) + 1 for arg in argv)
    if len(argv) > MAX_ARGS or size > MAX_ARG_BYTES:
        raise InputError(
            f"{scheduler.where} schedulers.{scheduler.name}.args: found {len(argv) - 1} arguments of {size} bytes,"
            f" those of test {test.name} included, expected at most {MAX_ARGS - 1} of {MAX_ARG_BYTES}"
        )
    return argv


def _body(plan: _Plan, shifts: Perturbations, duration_ns: int) -> list[Op]:
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
    ops.append(Hold(duration_ns))
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
