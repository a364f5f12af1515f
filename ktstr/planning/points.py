"""Cells as planned: what decides each one's inputs, addressed by their digest.

Everything is known here, whether or not its kernel was fetched or its image built, so a no-op reads nothing but
small files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ktstr.config.model import CellKey, Config, SchedulerDecl, TestDecl
from ktstr.config.topology import Topology
from ktstr.errors import KtstrError
from ktstr.host.identity import host_class
from ktstr.planning.images import Image, Images
from ktstr.planning.kernel import Kernel
from ktstr.planning.kernels import Kernels
from ktstr.planning.machines import ChosenMachine
from ktstr.results.judged import Row
from ktstr.results.store import REAL_TIME
from ktstr.vm.loading import attach_timeout_ns
from ktstr.vm.machine import GuestSpec, Machine
from ktstr.vm.memory import memory_mib

if TYPE_CHECKING:
    from ktstr.scenarios.compile import Compiled

CELL_FORMAT = 1  # raised when the meaning of a stored record changes


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
    def machine_key(self) -> tuple[object, ...]:
        """What cells have in common whose machines differ in nothing but the program."""
        return (self.kernel.identity, self.image.digests, self.topology, self.memory_mib, self.kernel_args)


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
class Broken:
    """A cell that cannot be planned on this host: its scheduler cannot be had."""

    name: str
    scheduler: str
    error: KtstrError


def cell_name(key: CellKey, kernel: Kernel, accel: str) -> str:
    """``test/preset/kernel/scheduler/accel-sSEED``."""
    return f"{key.test}/{key.preset}/{kernel.label}/{key.scheduler}/{accel}-s{key.seed}"


def input_digest(point: Point, program: bytes, machine: Machine) -> str:
    """SHA-256 over everything a run depends on; the accel and the program's seed are inside.

    In real time the class of host is one of these: what one host measured is no result of another.
    """
    parts: dict[str, object] = {
        "format": CELL_FORMAT,
        "kernel": point.kernel.identity,
        "image": list(point.image.digests),
        "program": hashlib.sha256(program).hexdigest(),
        "machine": [machine.accel, machine.digest],
        "command": list(point.command),
    }
    host = _host(machine.accel)
    if host:
        parts["host"] = host
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _host(accel: str) -> tuple[str, ...]:
    """The class of host that a result holds for; empty for counted instructions, which hold everywhere."""
    return host_class() if accel in REAL_TIME else ()


def _encoded(compiled: Compiled) -> bytes:
    from ktstr.scenarios.encode import encode  # parses the C header, which a run with nothing to do does not need

    return encode(compiled.program)


def compile_point(point: Point, seed: int) -> Compiled:
    """The scenario of a point under a seed."""
    from ktstr.scenarios.compile import compile_test  # not for cells that were planned on the same basis before

    return compile_test(point.test, point.topology, point.scheduler, seed, point.image.binary)


@dataclass(frozen=True)
class Judged:
    """What earlier runs left: their rows by cell name, and what decides every judgement and sidecar now."""

    rows: Mapping[str, Row]
    common: tuple[object, ...]

    def digest(self, name: str, basis: str) -> str | None:
        """The input digest of a cell that was planned on the same basis before."""
        row = self.rows.get(name)
        return row.digest if row is not None and row.basis == basis else None


class CellMaker:
    """Turns cell keys into plans, sharing what the seeds of one point have in common."""

    def __init__(self, config: Config, kernels: Kernels, images: Images, chosen: ChosenMachine, judged: Judged) -> None:
        self._config, self._kernels, self._images = config, kernels, images
        self._chosen, self._judged = chosen, judged
        self._points: dict[tuple[str, ...], Point] = {}

    def make(self, key: CellKey) -> CellPlan | Broken:
        """The plan, or why there is none: whatever is wrong with a scheduler is so for its own cells only.

        Raises InputError for a test that does not fit its topology.
        """
        machine = self._chosen.machine
        try:
            image = self._images.image(self._config.schedulers[key.scheduler], self._kernels[key.kernel])
        except KtstrError as err:
            name = cell_name(key, self._kernels[key.kernel], machine.accel)
            return Broken(name, key.scheduler, err)
        point = self._point(key, image)
        name = cell_name(key, point.kernel, point.accel)
        digest = self._judged.digest(name, point.basis)
        if digest is not None:
            return CellPlan(name, key, digest, point)
        compiled = compile_point(point, key.seed)
        plan = CellPlan(name, key, input_digest(point, _encoded(compiled), machine), point)
        vars(plan)["compiled"] = compiled  # what the cached property would make again
        return plan

    def _point(self, key: CellKey, image: Image) -> Point:
        known = (key.test, key.preset, key.kernel, key.scheduler)
        if known not in self._points:
            self._points[known] = self._new_point(key, image)
        return self._points[known]

    def _new_point(self, key: CellKey, image: Image) -> Point:
        config, machine = self._config, self._chosen.machine
        test, topology = config.tests[key.test], config.presets[key.preset]
        scheduler = _timed(config.schedulers[key.scheduler], machine.accel, topology)
        kernel = self._kernels[key.kernel]
        memory = memory_mib(topology, test.memory_mib, image.unpacked)
        arguments = _kernel_args(kernel, scheduler, test)
        cpus = _host_cpus(machine.accel, topology)
        command = machine.command_line(
            GuestSpec(kernel.vmlinux, image.paths, topology, memory, arguments, performance=test.performance_mode)
        )
        decided = (
            CELL_FORMAT, self._judged.common, kernel.identity, kernel.label, kernel.commit, image.digests,
            image.binary, machine.accel, machine.digest, machine.label, command, key.preset, topology, test, scheduler,
            cpus, memory, arguments, _host(machine.accel),
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
            needs=(self._chosen.task, kernel.task, *image.tasks),
            command=command,
            basis=hashlib.sha256(repr(decided).encode()).hexdigest(),
        )


def _timed(scheduler: SchedulerDecl, accel: str, topology: Topology) -> SchedulerDecl:
    """The scheduler with its attach timeout: as declared, else the machine's."""
    if scheduler.attach_timeout_ns is not None:
        return scheduler
    return replace(scheduler, attach_timeout_ns=attach_timeout_ns(accel, topology))


def _host_cpus(accel: str, topology: Topology) -> int:
    """How many host CPUs the machine can use at once: counted instructions run in one thread."""
    return 1 if accel == "icount" else min(topology.cpus, len(os.sched_getaffinity(0)))


def _kernel_args(kernel: Kernel, scheduler: SchedulerDecl, test: TestDecl) -> tuple[str, ...]:
    sysctls = tuple(f"sysctl.{key}={value}" for key, value in (*scheduler.sysctls, *test.sysctls))
    return (*sysctls, *kernel.kargs, *scheduler.kargs, *test.kargs)
