"""Compiles a declared test for one topology, scheduler and seed into the program the agent runs.

The setup, which cells of other seeds and tests may share: take CPUs offline, start the scheduler (``setup``). The
program: the backdrop, then step after step (``steps``); of a test in the short form: make the cgroups, spawn every
worker blocked, release them in order, hold, stop them and collect, remove the cgroups. Then the scheduler is stopped. A
seed permutes and delays its ops (``seeding``), and draws random affinities; nothing else depends on it.

The virtual deadline of the program: what its ops may take at most (``deadlines``) + the longest start offset + the time
limit of stopping the scheduler + MARGIN_NS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ktstr.checks.model import CgroupSpan, PhaseSpan, WorkGroup
from ktstr.checks.settings import Setting
from ktstr.config import ops as declared
from ktstr.config.model import Backdrop, SchedulerDecl, Step, TestDecl
from ktstr.config.payload_use import used_payloads
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios import setup as setups
from ktstr.scenarios.boot import isolated_cpus, offline_cpus
from ktstr.scenarios.deadlines import MARGIN_NS, STOP_SCHEDULER_NS, longest_ns
from ktstr.scenarios.draft import ReadBack, Surrounding
from ktstr.scenarios.keeping import Seedable, changes_of, kept
from ktstr.scenarios.perturb import Perturbations, perturb
from ktstr.scenarios.program import Op, Program, Read, StopScheduler, Write, flat
from ktstr.scenarios.seeding import delayed, manned, seeded
from ktstr.scenarios.setup import Other as Other
from ktstr.scenarios.setup import Programs as Programs
from ktstr.scenarios.steps import Drafted, Scenario, draft_of

_CGROUPS = "/sys/fs/cgroup"
_LONGEST_NS = 24 * 3600 * 1_000_000_000  # KTSTR_MAX_NS
# KTSTR_MAX_CGROUPS and so on.
_LIMITS = {"cgroups": 256, "works": 4096, "workers": 4096, "payloads": 64, "ops": 8192}
_PAGE_CHECKS = ("min_page_locality", "max_cross_node_migration_ratio", "max_slow_tier_ratio")


@dataclass(frozen=True)
class Compiled:
    """A program, and the tables that give its numbers their names. ``setup`` comes before it, None where there is
    nothing to do.

    ``phases`` and ``spans``: empty for a test of one step, whose phase is its workers' life, and where nothing is to be
    judged of a cgroup's share. ``payload_names``: the declared payload of each entry of the program's table, None for a
    scheduler. ``works`` is by work index; its ``cpus`` are those isolation allows (expect_cpuset, else cpuset).
    ``settings``: what the program reads back after it wrote it, by the place of the op that reads it.
    """

    setup: Program | None
    program: Program
    perturbations: Perturbations
    cgroup_names: tuple[str, ...]
    works: tuple[WorkGroup, ...]
    settings: Mapping[int, Setting] = field(default_factory=dict)
    phases: tuple[PhaseSpan, ...] = ()
    spans: tuple[CgroupSpan, ...] = ()
    payload_names: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Part:
    """A seed of whose changes only some are made, by their numbers; all of them with None."""

    seed: int
    keep: tuple[int, ...] | None = None


def compile_setup(
    test: TestDecl, topology: Topology, scheduler: SchedulerDecl, programs: Programs | None = None
) -> Program | None:
    """What comes before the program of a cell, None where there is nothing to do.

    Raises InputError for too many arguments, or CPUs that cannot be offline.
    """
    return setups.compile_setup(test, scheduler, programs, offline_cpus(test, topology))


def compile_test(
    test: TestDecl, topology: Topology, scheduler: SchedulerDecl, seed: int | Part, programs: Programs | None = None
) -> Compiled:
    """The program of one cell.

    ``programs``: None where the image has none. Raises InputError, with the place in ktstr.yaml, when something does
    not fit the topology or cannot be at its moment, or another scheduler not the place that it is to take; and for a
    change that the seed does not make.
    """
    part = seed if isinstance(seed, Part) else Part(seed)
    setup = compile_setup(test, topology, scheduler, programs)
    life = setups.life_of(test, scheduler, programs, setup)
    drafted = _drafted(Scenario.of(test, life), _around(test, topology, scheduler, programs, part.seed))
    draft = drafted.draft
    writes = setups.kernel_writes(scheduler)
    offline = _verified((setups.cpu_setting(cpu, online=False) for cpu in draft.around.offline), written=False)
    before, after = _verified(writes.before), _verified(writes.after)
    stop = [StopScheduler(STOP_SCHEDULER_NS)] if life is not None and life.attached else []
    shifts = _perturbed(test, drafted, part)
    made = seeded((*offline.ops, *before.ops, *drafted.ops, *stop, *after.ops), shifts)
    deadline = longest_ns(made.ops) + max(shifts.start_offsets_ns, default=0) + MARGIN_NS
    program = Program(
        part.seed,
        deadline if stop else deadline + STOP_SCHEDULER_NS,
        tuple(draft.cgroups),
        manned(draft.works, made.ops, shifts),
        tuple(draft.payloads),
        made.ops,
        draft.needed_controllers,
        test.cpu_controller,
    )
    _check_limits(test, program)
    read = (*draft.settings, *offline.read, *before.read, *after.read)
    return Compiled(
        setup,
        program,
        shifts,
        tuple(cgroup.name for cgroup in draft.cgroups),
        tuple(life.group() for life in draft.lives),
        {made.place(one.op): one.setting for one in read if id(one.op) in made.places},
        tuple(phase.span(made.place) for phase in drafted.phases),
        tuple(one.placed(made.place) for one in drafted.watched),
        tuple(draft.payload_names),
    )


def count_changes(test: TestDecl, topology: Topology, scheduler: SchedulerDecl, seed: int, programs: Programs) -> int:
    """How many changes a seed makes to a test. Raises as ``compile_test``."""
    setup = compile_setup(test, topology, scheduler, programs)
    life = setups.life_of(test, scheduler, programs, setup)
    drafted = _drafted(Scenario.of(test, life), _around(test, topology, scheduler, programs, seed))
    return len(changes_of(_seedable(drafted), _perturbed(test, drafted, Part(seed))))


def _seedable(drafted: Drafted) -> Seedable:
    return Seedable(drafted.draft.works, drafted.ops)


def _perturbed(test: TestDecl, drafted: Drafted, part: Part) -> Perturbations:
    """What a seed perturbs of a scenario, or a part of it does."""
    works = drafted.draft.works
    workers = sum(len(work.workers) for work in works)
    shifts = perturb(part.seed, len(works), workers, delayed(drafted.ops), test.duration_ns)
    if part.keep is None:
        return shifts
    try:
        return kept(_seedable(drafted), shifts, part.keep)
    except IndexError:
        made = len(changes_of(_seedable(drafted), shifts))
        raise InputError(
            f"keep={max(part.keep)}: seed {part.seed} makes {made} changes to {test.name}, expected numbers below that"
        ) from None


@dataclass(frozen=True)
class _Verified:
    """Ops that write settings and read them back, or only read them."""

    ops: tuple[Op, ...]
    read: tuple[ReadBack, ...]


def _verified(settings: Iterable[Setting], written: bool = True) -> _Verified:
    ops: list[Op] = []
    known: list[ReadBack] = []
    for one in settings:
        read = Read(one.path)
        known.append(ReadBack(read, one))
        ops += [Write(one.path, one.value), read] if written else [read]
    return _Verified(tuple(ops), tuple(known))


def _around(
    test: TestDecl, topology: Topology, scheduler: SchedulerDecl, programs: Programs | None, seed: int
) -> Surrounding:
    known = programs.payloads if programs is not None else {}
    pages = any(check in checks for check in _PAGE_CHECKS for checks in (test.checks, scheduler.checks))
    home = _CGROUPS + (scheduler.cgroup_parent or "/ktstr")
    return Surrounding(
        topology,
        tuple((name, known[name]) for name in used_payloads(test) if name in known),
        offline_cpus(test, topology),
        pages,
        home,
        isolated_cpus(test, topology),
        seed if _is_drawn(test) else 0,
    )


def _is_drawn(test: TestDecl) -> bool:
    """Whether anything in it is drawn that the ops themselves depend on."""
    parts: tuple[Backdrop | Step, ...] = (test.backdrop, *test.all_steps)
    for part in parts:
        works = [work for cgroup in part.cgroups for work in cgroup.works]
        works += [op.work for op in part.ops if isinstance(op, declared.Spawn)]
        pinned = [work.affinity for work in works]
        pinned += [op.affinity for op in part.ops if isinstance(op, declared.SetAffinity)]
        if any(affinity is not None and affinity.kind == "random" for affinity in pinned):
            return True
    return False


@lru_cache(maxsize=1024)
def _drafted(scenario: Scenario, around: Surrounding) -> Drafted:
    """The scenario as it is for every kernel and seed."""
    return draft_of(scenario, around)


def _check_limits(test: TestDecl, program: Program) -> None:
    """Raise InputError for more than the agent takes."""
    where = f"{test.where} tests.{test.name}"
    numbers = {
        "cgroups": len(program.cgroups),
        "works": len(program.works),
        "workers": sum(len(work.workers) for work in program.works),
        "payloads": len(program.payloads),
        "ops": sum(1 for _ in flat(program.ops)),
    }
    for what, number in numbers.items():
        if number > _LIMITS[what]:
            raise InputError(f"{where}: found {number} {what} in all its steps, expected at most {_LIMITS[what]}")
    if program.deadline_ns > _LONGEST_NS:
        raise InputError(
            f"{where}: found a run of up to {program.deadline_ns / 1e9:g}s with all its time limits, expected at most"
            f" {_LONGEST_NS / 1e9:g}s"
        )
