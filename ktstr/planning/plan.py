"""From ktstr.yaml and the variables to build steps and cells, before doit runs anything.

Everything is addressed by its inputs: the digest of a cell is known here, whether or not
its kernel was fetched or its image built, so a no-op reads nothing but small files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ktstr.cells.remembered import Remembered
from ktstr.config.model import CellKey, Config, SchedulerDecl, TestDecl
from ktstr.config.select import Expansion, Selection, Skip, expand, match, parse_seeds
from ktstr.config.topology import Topology
from ktstr.config.validated import load_config
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.planning.artifacts import Artifacts, Image
from ktstr.planning.kernels import Kernel
from ktstr.scenarios.compile import Compiled, compile_test
from ktstr.tasks.session import Outcome, Session
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
class Point:
    """What the seeds of one test, topology, kernel and scheduler have in common.

    ``basis``: digest of all that decides inputs, judgement and sidecar, but the seed.
    """

    accel: str
    test: TestDecl
    scheduler: SchedulerDecl
    topology: Topology
    kernel: Kernel
    image: Image
    memory_mib: int
    host_cpus: int
    kernel_args: tuple[str, ...]
    needs: tuple[str, ...]
    command: tuple[str, ...]
    basis: str

    @property
    def guest(self) -> GuestSpec:
        """The guest without its program."""
        return GuestSpec(
            self.kernel.vmlinux,
            (self.image.path,),
            self.topology,
            self.memory_mib,
            self.kernel_args,
            alike=f"{self.kernel.identity} {self.image.digest}",
            performance=self.test.performance_mode,
        )

    @property
    def machine_key(self) -> tuple[object, ...]:
        """What cells have in common whose machines differ in nothing but the program."""
        return (self.guest.alike, self.topology, self.memory_mib, self.kernel_args)


@dataclass(frozen=True)
class CellPlan:
    """One cell: its point, its seed and the digest of its inputs."""

    name: str
    key: CellKey
    input_digest: str
    point: Point

    @cached_property
    def compiled(self) -> Compiled:
        """The scenario; not made for a cell that has nothing to do."""
        return compile_point(self.point, self.key.seed)

    @cached_property
    def program(self) -> bytes:
        """What the agent reads."""
        return _encoded(self.compiled)


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
    machine: Machine | None
    config: Config

    @cached_property
    def machines(self) -> Counter[tuple[object, ...]]:
        """How many cells have each machine."""
        return Counter(cell.point.machine_key for cell in self.cells)

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
    """A file or folder where the user stands is a path, unless a declared kernel is meant: ``kernel=bzImage``."""
    there = not match(word, config.kernels) and (session.project.stand / word).exists()
    return f"./{word}" if there and "/" not in word else word


def _kernel_words(session: Session, config: Config, artifacts: Artifacts) -> tuple[str, ...]:
    """The kernels asked for, ranges expanded; where none is asked for or declared, one is looked for."""
    words = tuple(_kernel_word(session, config, word) for word in session.words_of("kernel"))
    if words or config.kernels:
        return artifacts.kernels.expand(words)
    found = artifacts.kernels.discover()
    session.progress.step(f"kernel {found.spec}: {found.why}")
    return (found.spec,)


def _selection(session: Session, kernels: tuple[str, ...]) -> Selection:
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
        kernel=kernels,
        scheduler=session.words_of("scheduler"),
        seeds=(seed,) if seed is not None else seeds,
    )


def cell_name(key: CellKey, kernel: Kernel, accel: str) -> str:
    """``test/preset/kernel/scheduler/accel-sSEED``."""
    return f"{key.test}/{key.preset}/{kernel.label}/{key.scheduler}/{accel}-s{key.seed}"


def input_digest(point: Point, program: bytes, machine: Machine) -> str:
    """SHA-256 over everything a run depends on; the accel and the program's seed are inside."""
    parts = {
        "format": CELL_FORMAT,
        "kernel": point.kernel.identity,
        "image": point.image.digest,
        "program": hashlib.sha256(program).hexdigest(),
        "machine": [machine.accel, machine.digest],
        "command": list(point.command),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _encoded(compiled: Compiled) -> bytes:
    from ktstr.scenarios.encode import encode  # parses the C header, which a run with nothing to do does not need

    return encode(compiled.program)


def compile_point(point: Point, seed: int) -> Compiled:
    """The scenario of a point under a seed."""
    return compile_test(point.test, point.topology, point.scheduler, seed, point.image.binary)


class _CellMaker:
    """Turns cell keys into plans, sharing what the seeds of one point have in common."""

    def __init__(
        self, config: Config, artifacts: Artifacts, machine: Machine, task: str, remembered: Remembered
    ) -> None:
        self._config, self._artifacts, self._machine, self._task = config, artifacts, machine, task
        self._remembered = remembered
        self._points: dict[tuple[str, ...], Point] = {}
        self.unusable: list[KtstrError] = []

    def try_make(self, key: CellKey) -> CellPlan | Outcome:
        """The plan, or the error of a cell whose scheduler cannot be had: whatever is wrong with it."""
        kernel = self._artifacts.kernels[key.kernel]
        try:
            self._artifacts.image(self._config.schedulers[key.scheduler], kernel)
        except KtstrError as err:
            self.unusable.append(err)
            return self._error(key, err)
        try:
            return self.make(key)
        except HostError as err:
            return self._error(key, err)

    def _error(self, key: CellKey, err: KtstrError) -> Outcome:
        name = cell_name(key, self._artifacts.kernels[key.kernel], self._machine.accel)
        return Outcome(name, "error", (str(err),), False, None, exit_code=err.exit_code)

    def make(self, key: CellKey) -> CellPlan:
        known = (key.test, key.preset, key.kernel, key.scheduler)
        if known not in self._points:
            self._points[known] = self._point(key)
        point = self._points[known]
        name = cell_name(key, point.kernel, point.accel)
        digest = self._remembered.digest(name, point.basis)
        if digest is not None:
            return CellPlan(name, key, digest, point)
        compiled = compile_point(point, key.seed)
        plan = CellPlan(name, key, input_digest(point, _encoded(compiled), self._machine), point)
        vars(plan)["compiled"] = compiled  # what the cached property would make again
        return plan

    def _point(self, key: CellKey) -> Point:
        config, machine = self._config, self._machine
        test, scheduler, topology = config.tests[key.test], config.schedulers[key.scheduler], config.presets[key.preset]
        kernel = self._artifacts.kernels[key.kernel]
        image = self._artifacts.image(scheduler, kernel)
        memory = self._artifacts.memory_mib(test, topology)
        arguments = _kernel_args(kernel, scheduler, test)
        cpus = _host_cpus(machine.accel, topology)
        mode = test.performance_mode
        command = machine.command_line(
            GuestSpec(kernel.vmlinux, (image.path,), topology, memory, arguments, performance=mode)
        )
        decided = (
            CELL_FORMAT, self._remembered.common, kernel.identity, kernel.label, kernel.commit, image.digest,
            image.binary, machine.accel, machine.digest, machine.label, command, key.preset, topology, test, scheduler,
            cpus, memory, arguments,
        )  # fmt: skip
        return Point(
            accel=machine.accel,
            test=test,
            scheduler=scheduler,
            topology=topology,
            kernel=kernel,
            image=image,
            memory_mib=memory,
            host_cpus=cpus,
            kernel_args=arguments,
            needs=(self._task, kernel.task, image.task),
            command=command,
            basis=hashlib.sha256(repr(decided).encode()).hexdigest(),
        )


def _host_cpus(accel: str, topology: Topology) -> int:
    """How many host CPUs the machine can use at once: counted instructions run in one thread."""
    return 1 if accel == "icount" else min(topology.cpus, len(os.sched_getaffinity(0)))


def _kernel_args(kernel: Kernel, scheduler: SchedulerDecl, test: TestDecl) -> tuple[str, ...]:
    sysctls = tuple(f"sysctl.{key}={value}" for key, value in (*scheduler.sysctls, *test.sysctls))
    return (*sysctls, *kernel.kargs, *scheduler.kargs, *test.kargs)


def _only_failed(session: Session, cells: list[CellPlan]) -> list[CellPlan]:
    from ktstr.commands.test import FAILED, last_verdicts

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


def _without_performance(session: Session, config: Config, expansion: Expansion) -> Expansion:
    """With ``no_perf_mode=1`` the tests that ask for performance mode are skipped, whatever runs them."""
    if not session.flag("no_perf_mode"):
        return expansion
    off = [key for key in expansion.cells if config.tests[key.test].performance_mode]
    skips = tuple(Skip(key, "asks for performance mode; no_perf_mode=1 is given") for key in off)
    cells = tuple(key for key in expansion.cells if key not in set(off))
    return Expansion(cells, (*expansion.skips, *skips))


def _skip(skip: Skip, config: Config, artifacts: Artifacts, accel: str) -> SkipPlan:
    kernel = artifacts.kernels[skip.key.kernel]
    test, topology = config.tests[skip.key.test], config.presets[skip.key.preset]
    return SkipPlan(cell_name(skip.key, kernel, accel), skip.key, accel, test, topology, kernel, skip.reason)


def make_plan(session: Session) -> Plan:
    """Resolve kernels, choose the machine and plan every selected cell.

    Raises InputError for a selection that matches nothing or a bad declaration, and HostError when
    a kernel or the machine cannot be resolved. Whatever is wrong with one scheduler makes its own
    cells errors, and no others, unless nothing but schedulers that are declared wrongly was selected.
    """
    config = load_config(session.project)
    artifacts = Artifacts(session, config)
    if "kernel_build" in session.words:
        return _kernels_only(session, config, artifacts)
    expansion = _without_performance(
        session, config, expand(config, _selection(session, _kernel_words(session, config, artifacts)))
    )
    artifacts.kernels.resolve(_kernels_of(expansion))
    artifacts.check_updates()
    machine, task = artifacts.machine()
    maker = _CellMaker(config, artifacts, machine, task, session.remembered())
    made = [maker.try_make(key) for key in _slice(session, list(expansion.cells))]
    cells = [cell for cell in made if isinstance(cell, CellPlan)]
    if not cells and maker.unusable and all(isinstance(err, InputError) for err in maker.unusable):
        raise maker.unusable[0]  # nothing but what is declared wrongly was selected
    cells = _named(session, _only_failed(session, cells) if session.flag("failed") else cells)
    points = [] if session.flag("failed") else _slice(session, list(expansion.skips))
    skips = tuple(_skip(skip, config, artifacts, machine.accel) for skip in points)
    broken = tuple(cell for cell in made if isinstance(cell, Outcome))
    if not cells and not skips and not broken:
        raise _nothing(session, len(expansion.cells))
    return Plan(tuple(cells), skips, broken, artifacts.steps(), machine, config)


def _build_words(session: Session) -> tuple[str, ...]:
    """The kernels that ``kernel_build`` names: one way of naming them at a time."""
    ways = {name: session.text(name) for name in ("version", "source", "git")}
    given = [f"{name}={value}" for name, value in ways.items() if value is not None]
    given += [f"kernel={','.join(words)}"] if (words := session.words_of("kernel")) else []
    if len(given) > 1:
        raise InputError(f"kernel_build: found {' and '.join(given)}, expected one of them")
    ref = session.text("ref")
    if (ways["git"] is None) != (ref is None):
        raise InputError("kernel_build: expected git= and ref= together", fix="doit kernel_build git=URL ref=BRANCH")
    if ways["source"] is not None:
        return (str(session.project.stand / Path(ways["source"]).expanduser()),)
    if ways["git"] is not None:
        return (f"git+{ways['git']}#{ref}",)
    return words or (ways["version"] or "stable",)


def _kernels_only(session: Session, config: Config, artifacts: Artifacts) -> Plan:
    """The plan of ``kernel_build``: no cells, no machine."""
    if session.words != ("kernel_build",):
        raise InputError("kernel_build: found other tasks beside it, expected it alone")
    artifacts.kernels.resolve(artifacts.kernels.expand(_build_words(session)))
    artifacts.check_updates()
    return Plan((), (), (), artifacts.steps(), None, config)
