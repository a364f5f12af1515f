"""From ktstr.yaml and the variables to build steps and cells, before doit runs anything.

Everything is addressed by its inputs: the digest of a cell is known here, whether or not
its kernel was fetched or its image built, so a no-op reads nothing but small files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ktstr.config.model import CellKey, Config, SchedulerDecl, TestDecl
from ktstr.config.select import Expansion, Selection, Skip, expand, match, parse_seeds
from ktstr.config.topology import Topology
from ktstr.errors import HostError, InputError
from ktstr.scenarios.compile import Compiled, compile_test
from ktstr.scenarios.encode import encode
from ktstr.tasks.artifacts import Artifacts, Image, Kernel
from ktstr.tasks.session import Outcome, Session
from ktstr.tasks.settings import load_config
from ktstr.vm.machine import GuestSpec, Machine

CELL_FORMAT = 1  # raised when the meaning of a stored record changes


@dataclass(frozen=True)
class Step:
    """A build step: its file target, what it needs, how to make it and whether it is fresh."""

    name: str
    target: Path
    make: Callable[[], None]
    fresh: Callable[[], bool]
    needs: tuple[str, ...] = ()

    def task(self, family: str) -> str:
        """The task's name in the graph."""
        return f"{family}:{self.name}" if self.name else family


@dataclass(frozen=True)
class CellPlan:
    """One cell: everything its run and its judgement need, and the digest of its inputs."""

    name: str
    key: CellKey
    accel: str
    test: TestDecl
    scheduler: SchedulerDecl
    topology: Topology
    compiled: Compiled
    program: bytes
    kernel: Kernel
    image: Image
    memory_mib: int
    host_cpus: int
    kernel_args: tuple[str, ...]
    input_digest: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class SkipPlan:
    """A point that its test's constraints rule out, and why."""

    name: str
    key: CellKey
    accel: str
    test: TestDecl
    topology: Topology
    kernel: Kernel
    reason: str


@dataclass(frozen=True)
class Plan:
    """All of one invocation: cells, skipped points, cells that cannot be planned here, and build steps."""

    cells: tuple[CellPlan, ...]
    skips: tuple[SkipPlan, ...]
    broken: tuple[Outcome, ...]
    steps: dict[str, list[Step]]
    machine: Machine
    config: Config

    def closure(self, names: Iterable[str]) -> list[str]:
        """The named steps and everything they need, nearest first."""
        needs = {step.task(family): step.needs for family, steps in self.steps.items() for step in steps}
        found: dict[str, None] = {}
        todo = list(names)
        while todo:
            name = todo.pop(0)
            if name not in found:
                found[name] = None
                todo += needs.get(name, ())
        return list(found)


def _kernel_word(session: Session, config: Config, word: str) -> str:
    """A file where the user stands is a path, unless a declared kernel is meant: ``kernel=bzImage``."""
    is_file = not match(word, config.kernels) and (session.project.stand / word).is_file()
    return f"./{word}" if is_file and "/" not in word else word


def _selection(session: Session, config: Config) -> Selection:
    seed = session.number("seed")
    try:
        seeds = parse_seeds(session.words_of("seeds")) or None
    except ValueError as err:
        raise InputError(f"seeds={','.join(session.words_of('seeds'))}: expected {err}") from None
    if seed is not None and seeds is not None:
        raise InputError("seed= and seeds=: found both, expected one of them")
    return Selection(
        test=session.words_of("test"),
        preset=session.words_of("preset"),
        kernel=tuple(_kernel_word(session, config, word) for word in session.words_of("kernel")),
        scheduler=session.words_of("scheduler"),
        seeds=(seed,) if seed is not None else seeds,
    )


def cell_name(key: CellKey, kernel: Kernel, accel: str) -> str:
    """``test/preset/kernel/scheduler/accel-sSEED``."""
    return f"{key.test}/{key.preset}/{kernel.label}/{key.scheduler}/{accel}-s{key.seed}"


def input_digest(kernel: Kernel, image: Image, program: bytes, machine: Machine, arguments: Sequence[str]) -> str:
    """SHA-256 over everything a run depends on; the accel and the program's seed are inside."""
    parts = {
        "format": CELL_FORMAT,
        "kernel": kernel.identity,
        "image": image.digest,
        "program": hashlib.sha256(program).hexdigest(),
        "machine": [machine.accel, machine.digest],
        "command": list(arguments),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class _CellMaker:
    """Turns cell keys into plans, sharing what many cells have in common."""

    def __init__(self, config: Config, artifacts: Artifacts, machine: Machine) -> None:
        self._config, self._artifacts, self._machine = config, artifacts, machine
        self._arguments: dict[tuple[object, ...], tuple[str, ...]] = {}

    def _command(self, spec: GuestSpec) -> tuple[str, ...]:
        common = (spec.topology, spec.memory_mib, spec.kernel_args)
        if common not in self._arguments:
            self._arguments[common] = self._machine.command_line(spec)
        return self._arguments[common]

    def try_make(self, key: CellKey) -> CellPlan | Outcome:
        """The plan, or the error of a cell whose scheduler cannot be had on this host."""
        try:
            return self.make(key)
        except HostError as err:
            name = cell_name(key, self._artifacts.kernel(key.kernel), self._machine.accel)
            return Outcome(name, "error", (str(err),), False, None, exit_code=err.exit_code)

    def make(self, key: CellKey) -> CellPlan:
        config = self._config
        test, scheduler, topology = config.tests[key.test], config.schedulers[key.scheduler], config.presets[key.preset]
        kernel = self._artifacts.kernel(key.kernel)
        image = self._artifacts.image(scheduler, kernel)
        compiled = compile_test(test, topology, scheduler, key.seed, image.binary)
        program = encode(compiled.program)
        memory = self._artifacts.memory_mib(test, topology)
        arguments = _kernel_args(kernel, scheduler, test)
        spec = GuestSpec(kernel.vmlinux, (image.path,), topology, memory, arguments)
        digest = input_digest(kernel, image, program, self._machine, self._command(spec))
        return CellPlan(
            name=cell_name(key, kernel, self._machine.accel),
            key=key,
            accel=self._machine.accel,
            test=test,
            scheduler=scheduler,
            topology=topology,
            compiled=compiled,
            program=program,
            kernel=kernel,
            image=image,
            memory_mib=memory,
            host_cpus=_host_cpus(self._machine.accel, topology),
            kernel_args=arguments,
            input_digest=digest,
            needs=("tools:qemu", kernel.task, image.task),
        )


def _host_cpus(accel: str, topology: Topology) -> int:
    """How many host CPUs the machine can use at once: counted instructions run in one thread."""
    return 1 if accel == "icount" else min(topology.cpus, len(os.sched_getaffinity(0)))


def _kernel_args(kernel: Kernel, scheduler: SchedulerDecl, test: TestDecl) -> tuple[str, ...]:
    sysctls = tuple(f"sysctl.{key}={value}" for key, value in (*scheduler.sysctls, *test.sysctls))
    return (*sysctls, *kernel.kargs, *scheduler.kargs, *test.kargs)


def _only_failed(session: Session, cells: list[CellPlan]) -> list[CellPlan]:
    from ktstr.tasks.summary import FAILED, last_verdicts

    last = last_verdicts(session.project.state)
    return [cell for cell in cells if last.get(cell.name) in FAILED]


T = TypeVar("T")


def _slice(session: Session, items: list[T]) -> list[T]:
    """The ``shard=i/n`` slice of the cells, or of the skipped points."""
    shard = session.text("shard")
    if shard is None:
        return items
    i, n = (int(part) for part in shard.split("/"))
    return items[i - 1 :: n]


def _named(session: Session, cells: list[CellPlan]) -> list[CellPlan]:
    """Words such as ``cell:TEST/...`` narrow the plan to those cells."""
    names = [word.removeprefix("cell:") for word in session.words if word.startswith("cell:")]
    if not names or "test" in session.words or "cell" in session.words:
        return cells
    unknown = [name for name in names if name not in {cell.name for cell in cells}]
    if unknown:
        raise InputError(f"cell:{unknown[0]}: found no such cell", fix="doit test dry_run=1 lists them")
    return [cell for cell in cells if cell.name in names]


def _nothing(session: Session, cells: int) -> InputError:
    """The error for a selection that leaves no cell, naming what narrowed it."""
    given = {"failed": session.flag("failed") and "1", "shard": session.text("shard")}
    narrowed = [f"{name}={value}" for name, value in given.items() if value]
    return InputError(
        f"nothing was selected: {' '.join(narrowed) or 'the selection'} leaves none of {cells} cells",
        fix="doit test dry_run=1 without a selection",
    )


def _kernels_of(expansion: Expansion) -> list[str]:
    keys = (*expansion.cells, *(skip.key for skip in expansion.skips))
    return list(dict.fromkeys(key.kernel for key in keys))


def _skip(skip: Skip, config: Config, artifacts: Artifacts, accel: str) -> SkipPlan:
    kernel = artifacts.kernel(skip.key.kernel)
    test, topology = config.tests[skip.key.test], config.presets[skip.key.preset]
    return SkipPlan(cell_name(skip.key, kernel, accel), skip.key, accel, test, topology, kernel, skip.reason)


def make_plan(session: Session) -> Plan:
    """Resolve kernels, choose the machine and plan every selected cell.

    Raises InputError for a selection that matches nothing or a bad declaration, and HostError when
    a kernel or the machine cannot be resolved. A scheduler that this host cannot build makes its
    own cells errors, and no others.
    """
    config = load_config(session.project)
    expansion = expand(config, _selection(session, config))
    artifacts = Artifacts(session, config)
    artifacts.resolve_kernels(_kernels_of(expansion))
    artifacts.check_updates()
    machine = artifacts.machine()
    maker = _CellMaker(config, artifacts, machine)
    made = [maker.try_make(key) for key in _slice(session, list(expansion.cells))]
    cells = [cell for cell in made if isinstance(cell, CellPlan)]
    cells = _named(session, _only_failed(session, cells) if session.flag("failed") else cells)
    points = [] if session.flag("failed") else _slice(session, list(expansion.skips))
    skips = tuple(_skip(skip, config, artifacts, machine.accel) for skip in points)
    broken = tuple(cell for cell in made if isinstance(cell, Outcome))
    if not cells and not skips and not broken:
        raise _nothing(session, len(expansion.cells))
    return Plan(tuple(cells), skips, broken, artifacts.steps(), machine, config)
