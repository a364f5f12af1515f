"""Cells as planned: what decides each one's inputs, addressed by their digest.

Everything is known here, whether or not its kernel was fetched or its image built, so a no-op reads nothing but
small files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ktstr.config.keep import keep_words
from ktstr.config.model import CellKey, Config, PayloadDecl, SchedulerDecl, TestDecl
from ktstr.config.payload_use import used_payloads
from ktstr.config.topology import Topology
from ktstr.errors import KtstrError
from ktstr.planning.capacity import Wanted
from ktstr.planning.hosts import RunHost, class_for, most_cpus
from ktstr.planning.images import Image, Images
from ktstr.planning.kernel import Kernel
from ktstr.planning.kernels import Kernels
from ktstr.planning.machines import ChosenMachine
from ktstr.results.judged import Row
from ktstr.vm.loading import attach_timeout_ns
from ktstr.vm.machine import GuestSpec, Machine
from ktstr.vm.memory import memory_mib

if TYPE_CHECKING:
    from ktstr.scenarios.compile import Compiled, Programs
    from ktstr.scenarios.program import Program

CELL_FORMAT = 2  # raised when the meaning of a stored record changes
PARKED_FORMAT = 1  # the same of a machine that is parked


@dataclass(frozen=True)
class ParkedPlan:
    """A machine that is parked for cells to be cloned from: addressed by all that it is made from.

    ``name``: ``KERNEL/PRESET/SCHEDULER/ACCEL``, which several may have.
    """

    name: str
    key: str

    @property
    def task(self) -> str:
        """What the graph calls it."""
        return f"machine:{self.name}-{self.key[:8]}"


@dataclass(frozen=True)
class Point:
    """What the seeds of one test, topology, kernel and scheduler have in common.

    ``others``: the schedulers that take the place of its own within a run. ``payloads``: those that the test runs.
    ``release``: judged by a release's limits.
    ``host``: the class of host that its results hold for, empty for counted instructions, which hold everywhere.
    ``basis``: digest of all that decides inputs, judgement and sidecar, but the seed. ``parking``: the arguments of
    the machine that its cells may be clones of, None where each boots.
    """

    accel: str
    preset: str
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
    parking: tuple[str, ...] | None
    basis: str
    host: tuple[str, ...] = ()
    others: tuple[SchedulerDecl, ...] = ()
    payloads: tuple[PayloadDecl, ...] = ()
    release: bool = False

    @cached_property
    def setup(self) -> bytes:
        """What the agent reads before its program; empty where there is nothing to do."""
        from ktstr.scenarios.compile import compile_setup  # not for cells that were planned on the same basis before

        setup = compile_setup(self.test, self.topology, self.scheduler, programs(self))
        return b"" if setup is None else _encoded(setup)

    @cached_property
    def parked(self) -> ParkedPlan | None:
        """The machine that its cells may be clones of."""
        if self.parking is None:
            return None
        inputs = {
            "format": PARKED_FORMAT,
            "kernel": self.kernel.identity,
            "image": list(self.image.digests),
            "setup": hashlib.sha256(self.setup).hexdigest(),
            "command": list(self.parking),
            "host": list(self.host),
        }
        name = f"{self.kernel.label}/{self.preset}/{self.scheduler.name}/{self.accel}"
        return ParkedPlan(name, _digest(inputs))


@dataclass(frozen=True)
class CellPlan:
    """One cell: its point, its seed and the digest of its inputs."""

    name: str
    key: CellKey
    input_digest: str
    point: Point

    @property
    def accel(self) -> str:
        return self.point.accel

    @property
    def kernel(self) -> Kernel:
        return self.point.kernel

    @cached_property
    def compiled(self) -> Compiled:
        """The scenario; not made for a cell that has nothing to do."""
        return compile_point(self.point, self.key)

    @cached_property
    def program(self) -> bytes:
        """What the agent reads."""
        return _encoded(self.compiled.program)


@dataclass(frozen=True)
class SkipPlan:
    """A point that its test's constraints rule out, and why. ``host``: this host is too small for it."""

    name: str
    key: CellKey
    accel: str
    test: TestDecl
    topology: Topology
    kernel: Kernel
    reason: str
    host: bool = False


@dataclass(frozen=True)
class Broken:
    """A cell that cannot be planned on this host: its scheduler cannot be had."""

    name: str
    key: CellKey
    accel: str
    kernel: Kernel
    error: KtstrError

    @property
    def scheduler(self) -> str:
        return self.key.scheduler


def cell_name(key: CellKey, kernel: Kernel, accel: str, side: str | None = None) -> str:
    """``test/preset/kernel/scheduler/accel-sSEED``; of two sides that are compared, that after the side's name. Of a
    part of a seed's changes: ``accel-sSEED-keep-0..2,5``."""
    name = f"{key.test}/{key.preset}/{kernel.label}/{key.scheduler}/{accel}-s{key.seed}"
    name += "" if key.keep is None else f"-keep-{keep_words(key.keep)}"
    return name if side is None else f"{side}/{name}"


def input_digest(point: Point, program: bytes, machine: Machine) -> str:
    """SHA-256 over everything a run depends on; the accel and the program's seed are inside.

    A clone's own command has no kernel arguments: those are the machine's that was parked. In real time the class of
    host is one of these: what one host measured is no result of another.
    """
    parts: dict[str, object] = {
        "format": CELL_FORMAT,
        "kernel": point.kernel.identity,
        "image": list(point.image.digests),
        "setup": hashlib.sha256(point.setup).hexdigest(),
        "program": hashlib.sha256(program).hexdigest(),
        "machine": [machine.accel, machine.digest],
        "command": list(point.command),
    }
    if point.parking is not None and machine.accel != "kvm":  # whose own line has the kernel's arguments, clone or not
        parts["parking"] = list(point.parking)
    if point.host:
        parts["host"] = point.host
    return _digest(parts)


def _digest(parts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _encoded(program: Program) -> bytes:
    from ktstr.scenarios.encode import encode  # parses the C header, which a run with nothing to do does not need

    return encode(program)


def compile_point(point: Point, key: CellKey) -> Compiled:
    """The scenario of a point under the key's seed, or a part of it."""
    from ktstr.scenarios.compile import Part, compile_test  # not for cells that were planned on the same basis before

    return compile_test(point.test, point.topology, point.scheduler, Part(key.seed, key.keep), programs(point))


def planned_cell(name: str, key: CellKey, point: Point, compiled: Compiled, machine: Machine) -> CellPlan:
    """A cell whose scenario is compiled."""
    plan = CellPlan(name, key, input_digest(point, _encoded(compiled.program), machine), point)
    vars(plan)["compiled"] = compiled  # what the cached property would make again
    return plan


def programs(point: Point) -> Programs:
    """What the compiler is told of the point's image."""
    from ktstr.scenarios.compile import Other, Programs

    files = {part.name: part.binary for part in point.image.others}
    others = {one.name: Other(one, files[one.name]) for one in point.others}
    return Programs(point.image.binary, others, {one.name: one for one in point.payloads})


@dataclass(frozen=True)
class Judged:
    """What earlier runs left: their rows by cell name, and what decides every judgement and sidecar now."""

    rows: Mapping[str, Row]
    common: tuple[object, ...]

    def digest(self, name: str, basis: str) -> str | None:
        """The input digest of a cell that was planned on the same basis before."""
        row = self.rows.get(name)
        return row.digest if row is not None and row.basis == basis else None


@dataclass(frozen=True)
class Supplies:
    """What cells stand on. ``clones``: whether their machines may be clones; ``side`` and ``hosts`` as in ``Request``;
    ``release``: whether a release's limits are theirs."""

    kernels: Kernels
    images: Images
    clones: bool
    side: str | None = None
    release: bool = False
    hosts: tuple[RunHost, ...] = ()


class _NoImage(Exception):
    """Whatever is wrong with what the image of a point holds."""

    def __init__(self, why: KtstrError) -> None:
        super().__init__(str(why))
        self.why = why


class CellMaker:
    """Turns cell keys into plans, sharing what the seeds of one point have in common."""

    def __init__(self, config: Config, supplies: Supplies, chosen: ChosenMachine, judged: Judged) -> None:
        self._config, self._kernels, self._images = config, supplies.kernels, supplies.images
        self._clones, self._chosen, self._judged, self._side = supplies.clones, chosen, judged, supplies.side
        self._release, self._hosts = supplies.release, supplies.hosts
        self._points: dict[tuple[str, ...], Point] = {}

    def make(self, key: CellKey) -> CellPlan | Broken:
        """The plan, or why there is none: whatever is wrong with a scheduler is so for its own cells only.

        Raises InputError for a test that does not fit its topology.
        """
        machine = self._chosen.machine
        try:
            point = self._point(key)
        except _NoImage as err:
            kernel = self._kernels[key.kernel]
            return Broken(cell_name(key, kernel, machine.accel, self._side), key, machine.accel, kernel, err.why)
        name = cell_name(key, point.kernel, point.accel, self._side)
        digest = self._judged.digest(name, point.basis)
        if digest is not None:
            return CellPlan(name, key, digest, point)
        return planned_cell(name, key, point, compile_point(point, key), machine)

    def _image(self, key: CellKey) -> Image:
        try:
            return self._images.with_files(self._programs(key), self._config.tests[key.test], self._payloads(key))
        except KtstrError as err:
            raise _NoImage(err) from err

    def _payloads(self, key: CellKey) -> tuple[PayloadDecl, ...]:
        return tuple(self._config.payloads[name] for name in used_payloads(self._config.tests[key.test]))

    def _programs(self, key: CellKey) -> Image:
        """Without the others where its own is none that they could take the place of, which is refused later on."""
        schedulers, kernel = self._config.schedulers, self._kernels[key.kernel]
        image = self._images.image(schedulers[key.scheduler], kernel)
        names = self._config.tests[key.test].replacements
        if image.binary is None or not names:
            return image
        return self._images.image(schedulers[key.scheduler], kernel, [schedulers[name] for name in names])

    def _point(self, key: CellKey) -> Point:
        known = (key.test, key.preset, key.kernel, key.scheduler)
        if known not in self._points:
            self._points[known] = self._new_point(key, self._image(key))
        return self._points[known]

    def _new_point(self, key: CellKey, image: Image) -> Point:
        config, machine = self._config, self._chosen.machine
        test, topology = config.tests[key.test], config.presets[key.preset]
        scheduler = _timed(config.schedulers[key.scheduler], machine.accel, topology)
        others = tuple(_timed(config.schedulers[part.name], machine.accel, topology) for part in image.others)
        payloads = self._payloads(key)
        kernel = self._kernels[key.kernel]
        memory = memory_mib(topology, test.memory_mib, image.unpacked, image.file_bytes)
        arguments = _kernel_args(kernel, (*others, scheduler), test, topology)
        cpus = _host_cpus(machine.accel, topology, self._hosts)
        wanted = Wanted(topology, machine.accel, test.memory_mib, test.performance_mode)
        host = class_for("/".join((key.test, key.preset, key.kernel, key.scheduler)), wanted, self._hosts)
        parks = self._clones and not test.performance_mode
        guest = GuestSpec(
            kernel.vmlinux, image.paths, topology, memory, arguments, parks=parks, performance=test.performance_mode,
            cgroup_parent=scheduler.cgroup_parent,
        )  # fmt: skip
        command = machine.command_line(guest)
        decided = (
            CELL_FORMAT, self._judged.common, kernel.identity, kernel.label, kernel.commit, image.digests,
            image.binary, machine.accel, machine.digest, machine.label, command, key.preset, topology, test, scheduler,
            cpus, memory, arguments, host, image.resolve_source, others, payloads, self._release,
        )  # fmt: skip
        return Point(
            accel=machine.accel,
            preset=key.preset,
            test=test,
            scheduler=scheduler,
            topology=topology,
            kernel=kernel,
            image=image,
            memory_mib=memory,
            host_cpus=cpus,
            host=host,
            kernel_args=arguments,
            needs=(*self._chosen.tasks, kernel.task, *image.tasks),
            command=command,
            parking=(machine.digest, *machine.parking_line(guest)) if parks else None,
            basis=hashlib.sha256(repr(decided).encode()).hexdigest(),
            others=others,
            payloads=payloads,
            release=self._release,
        )


def _timed(scheduler: SchedulerDecl, accel: str, topology: Topology) -> SchedulerDecl:
    """The scheduler with its attach timeout: as declared, else the machine's."""
    if scheduler.attach_timeout_ns is not None:
        return scheduler
    return replace(scheduler, attach_timeout_ns=attach_timeout_ns(accel, topology))


def _host_cpus(accel: str, topology: Topology, hosts: Sequence[RunHost]) -> int:
    """How many host CPUs the machine can use at once: counted instructions run in one thread."""
    if accel == "icount":
        return 1
    return min(topology.cpus, most_cpus(hosts) if hosts else len(os.sched_getaffinity(0)))


def _kernel_args(
    kernel: Kernel, schedulers: Sequence[SchedulerDecl], test: TestDecl, topology: Topology
) -> tuple[str, ...]:
    """The kernel heeds the last one of a name: the test's, then that of the last scheduler.

    Raises InputError for CPUs that the topology does not have.
    """
    settings = [setting for scheduler in schedulers for setting in scheduler.sysctls]
    sysctls = tuple(f"sysctl.{key}={value}" for key, value in (*settings, *test.sysctls))
    kargs = tuple(arg for scheduler in schedulers for arg in scheduler.kargs)
    return (*sysctls, *kernel.kargs, *kargs, *_boot_arguments(test, topology), *test.kargs)


def _boot_arguments(test: TestDecl, topology: Topology) -> tuple[str, ...]:
    if not test.cpu_kargs:
        return ()
    from ktstr.scenarios.boot import boot_arguments  # not for the many tests that hold no CPUs

    return boot_arguments(test, topology)
