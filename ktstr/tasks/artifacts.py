"""What cells are made of: kernels, tools, agent, schedulers and images, addressed by their inputs.

Nothing is built or fetched here but what resolving needs; each artifact becomes a step of
the graph, with the file that proves it.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr import resources
from ktstr.config.model import Config, SchedulerDecl, TestDecl
from ktstr.config.suggest import nearest
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.host.deb import file_sha256, full_or_denied
from ktstr.host.elf import system_folders
from ktstr.kernels.build import ensure, lookup, metadata_path
from ktstr.kernels.lock import Lock, Pin, read_lock, write_lock
from ktstr.kernels.resolve import Resolution, resolve
from ktstr.kernels.spec import ImageSpec, Spec, parse_spec
from ktstr.schedulers.build import build as build_scheduler
from ktstr.schedulers.build import inputs_digest, scheduler_name
from ktstr.schedulers.find import find_binary
from ktstr.schedulers.toolchain import find_toolchain
from ktstr.vm import agent as agents
from ktstr.vm import bundle
from ktstr.vm import image as images
from ktstr.vm.machine import Machine
from ktstr.vm.memory import memory_mib
from ktstr.vm.qemu import QemuMachine
from ktstr.vm.tools import (
    RECIPES,
    BpfTools,
    Tool,
    bpf_tool,
    ensure_bpf,
    ensure_qemu,
    lookup_bpf,
    lookup_qemu,
    qemu_tool,
    resolve_tool,
    tool_metadata,
)

if TYPE_CHECKING:
    from ktstr.tasks.plan import Step
    from ktstr.tasks.session import Session

FAMILIES = ("tools", "agent", "kernel", "scheduler", "image")


@dataclass(frozen=True)
class Kernel:
    """A kernel of the plan. ``identity`` names its content before it is fetched."""

    label: str
    resolution: Resolution
    vmlinux: Path
    metadata: Path
    btf: Path
    kargs: tuple[str, ...]
    cache: Cache

    @property
    def identity(self) -> str:
        return self.resolution.identity

    def version(self) -> str | None:
        """The release as the kernel prints it; None before it is in the cache."""
        entry = lookup(self.resolution, self.cache)
        return None if entry is None else entry.version


@dataclass(frozen=True)
class Image:
    """A guest image of the plan. ``binary`` is the scheduler's file name in it, None for the kernel's own."""

    name: str
    digest: str
    path: Path
    binary: str | None


def _sha(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    temp = path.with_name(f".{path.name}.tmp.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temp.write_bytes(data)
        temp.replace(path)
    except OSError as err:
        raise full_or_denied(err, path) from err
    finally:
        temp.unlink(missing_ok=True)


class Artifacts:
    """Everything the cells of one plan need; asked for twice, made once."""

    def __init__(self, session: Session, config: Config) -> None:
        self._session, self._config = session, config
        self.cache = Cache(cache_root(session.environ))
        self._apt = Apt(self.cache.apt, session.flag("offline"), session.environ)
        self._own_lock = read_lock(session.project.lock)
        shipped = resources.default_lock()
        self._lock = self._own_lock.over(read_lock(shipped) if shipped else Lock())
        self._steps: dict[str, dict[str, Step]] = {family: {} for family in FAMILIES}
        self._kernels: dict[str, Kernel] = {}
        self._images: dict[tuple[str, str], Image] = {}
        self._agent: tuple[Path, str] | None = None
        self.notes: list[str] = []

    def steps(self) -> dict[str, list[Step]]:
        return {family: list(steps.values()) for family, steps in self._steps.items()}

    def _step(
        self,
        family: str,
        name: str,
        target: Path,
        make: Callable[[], object],
        needs: Iterable[str] = (),
        fresh: Callable[[], object] | None = None,
    ) -> None:
        """Add a step once. ``fresh`` decides for targets that can be damaged; else the target's being there does."""
        from ktstr.tasks.plan import Step

        def act() -> None:
            make()

        def is_fresh() -> bool:
            return target.is_file() if fresh is None else fresh() is not None

        self._steps[family].setdefault(name, Step(name, target, act, is_fresh, tuple(needs)))

    # Pins and the lock file

    def _updating(self, name: str) -> bool:
        wanted = self._session.words_of("lock_update")
        return name in wanted or "all" in wanted

    def check_updates(self) -> None:
        """Refuse a ``lock_update=`` that names nothing of this plan."""
        specs = (str(kernel.resolution.spec) for kernel in self._kernels.values())
        known = ("all", *self._kernels, *specs, *RECIPES)
        for name in self._session.words_of("lock_update"):
            if name not in known:
                hint = nearest(name, known)
                raise InputError(
                    f"lock_update={name}: found no kernel or tool of that name"
                    + (f", nearest match {hint!r}" if hint else ""),
                    fix=f"expected one of {', '.join(dict.fromkeys(known))}",
                )

    def _save_lock(self, lock: Lock) -> None:
        self._own_lock = lock
        write_lock(self._session.project.lock, lock)

    def _tool_pin(self, name: str) -> Pin:
        pin = resolve_tool(name, self._lock, self._apt, update=self._updating(name))
        if self._own_lock.tools.get(name) != pin:
            self._lock = self._lock.with_tool(name, pin)
            self._save_lock(self._own_lock.with_tool(name, pin))
        return pin

    # Kernels

    def resolve_kernels(self, names: Iterable[str]) -> None:
        """Resolve every kernel before any cell is planned; the lock remembers what was resolved."""
        for name in names:
            self._kernels[name] = self._resolve(name)

    def _resolve(self, name: str) -> Kernel:
        declared = self._config.kernels.get(name)
        folder = self._session.project.stand if declared is None else self._config.path.parent
        spec = parse_spec(name if declared is None else declared.spec, folder)
        update = self._updating(name) or self._updating(str(spec))
        resolution = resolve(spec, self._lock, self.cache, self._apt, update=update)
        if resolution.pin is not None and self._own_lock.kernels.get(str(spec)) != resolution.pin:
            self._lock = self._lock.with_kernel(str(spec), resolution.pin)
            self._save_lock(self._own_lock.with_kernel(str(spec), resolution.pin))
        label = label_of(spec) if declared is None else name
        metadata = metadata_path(resolution, self.cache)
        entry = metadata.parent
        kargs = () if declared is None else declared.kargs
        kernel = Kernel(label, resolution, entry / "vmlinux", metadata, entry / "vmlinux.btf", kargs, self.cache)
        self._step(
            "kernel",
            label,
            metadata,
            lambda: ensure(resolution, self.cache, self._apt),
            fresh=lambda: lookup(resolution, self.cache),
        )
        return kernel

    def kernel(self, name: str) -> Kernel:
        return self._kernels[name]

    # Tools and machine

    def machine(self) -> Machine:
        """The machine that ``accel=`` names; ``auto`` is icount until a hypervisor of our own runs here."""
        accel = self._session.text("accel") or "auto"
        pin = self._tool_pin("qemu")
        self._step(
            "tools",
            "qemu",
            tool_metadata("qemu", pin, self.cache),
            lambda: ensure_qemu(pin, self.cache, self._apt),
            fresh=lambda: lookup_qemu(pin, self.cache),
        )
        return QemuMachine(_planned_qemu(pin, self.cache), "icount" if accel == "auto" else accel)

    def _bpf(self) -> BpfTools:
        """The BPF tools as they are or will be in the cache."""
        pin = self._tool_pin("bpf")
        self._step(
            "tools",
            "bpf",
            tool_metadata("bpf", pin, self.cache),
            lambda: ensure_bpf(pin, self.cache, self._apt),
            fresh=lambda: lookup_bpf(pin, self.cache),
        )
        return bpf_tool(bundle.Bundle("bpf", self.cache.entry("tools", pin.digest), pin.version, pin.digest))

    # Agent, schedulers and images

    def agent(self) -> tuple[Path, str]:
        """The agent's path and the digest of what it is made from."""
        if self._agent is None:
            folder, cc = resources.c_dir(), agents.compiler(self._session.environ)
            digest = agents.inputs_digest(folder, agents.compiler_version(cc))
            path = self.cache.entry("agents", digest) / "agent"
            self._step("agent", "", path, lambda: agents.build(folder, cc, path))
            self._agent = (path, digest)
        return self._agent

    def image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        """The image for a scheduler on a kernel; one without a binary holds the agent alone."""
        per_kernel = kernel.label if scheduler.source is not None else ""
        key = (str(scheduler.source or scheduler.path or ""), per_kernel)
        if key not in self._images:
            self._images[key] = self._make_image(scheduler, kernel)
        return self._images[key]

    def _make_image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        agent, agent_digest = self.agent()
        if scheduler.builtin is not None:
            return self._image("agent-only", _sha(agent_digest), agent, None, ("agent",))
        if scheduler.path is not None:
            binary = find_binary(scheduler)
            assert binary is not None
            folders = images.library_path(self._session.environ)
            places = images.library_places(binary, folders)
            parts = sorted(f"{place} {file_sha256(path)}" for place, path in places.items())
            digest = _sha(agent_digest, binary.name, file_sha256(binary), *parts)
            return self._image(scheduler.name, digest, agent, binary, ("agent",), folders)
        return self._built_image(scheduler, kernel, agent, agent_digest)

    def _built_image(self, scheduler: SchedulerDecl, kernel: Kernel, agent: Path, agent_digest: str) -> Image:
        assert scheduler.source is not None
        source, tools = _source_folder(scheduler.source), self._bpf()
        inputs = inputs_digest(source, kernel.identity, find_toolchain(tools, self._session.environ))
        out = self.cache.entry("schedulers", inputs)
        name = f"{scheduler_name(source)}@{kernel.label}"

        def make() -> object:
            return build_scheduler(source, kernel.btf, tools, out)

        self._step("scheduler", name, out / "metadata.json", make, ("tools:bpf", f"kernel:{kernel.label}"))
        binary = out / scheduler_name(source)
        needs = ("agent", f"scheduler:{name}")
        # This machine's libraries first: the bundle's C library is older than a loader compiled here may need.
        folders = (*system_folders(), tools.libbpf_a.parent)
        return self._image(name, _sha(agent_digest, inputs), agent, binary, needs, folders)

    def _image(
        self,
        name: str,
        digest: str,
        agent: Path,
        binary: Path | None,
        needs: tuple[str, ...],
        folders: tuple[Path, ...] = (),
    ) -> Image:
        path = self.cache.entry("images", digest) / "image.cpio"

        def make() -> None:
            parts = images.base_part(agent)
            if binary is not None:
                parts += images.scheduler_part(binary, folders)
            _write(path, parts)

        self._step("image", name, path, make, needs)
        return Image(name, digest, path, None if binary is None else binary.name)

    def memory_mib(self, test: TestDecl, topology: Topology) -> int:
        return memory_mib(topology, test.memory_mib)


def _planned_qemu(pin: Pin, cache: Cache) -> Tool:
    """QEMU as it is or will be in the cache: its digest is the pin's either way."""
    return qemu_tool(bundle.Bundle("qemu", cache.entry("tools", pin.digest), pin.version, pin.digest))


def label_of(spec: Spec) -> str:
    """How an undeclared kernel is called in cell names: ``kernel_deb_forky_cloud_amd64``, ``kernel_path_NAME_HASH``."""
    if isinstance(spec, ImageSpec):
        return f"kernel_path_{_plain(spec.path.name)}_{zlib.crc32(str(spec.path.resolve()).encode()):08x}"[:-2]
    return f"kernel_{_plain(str(spec))}"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _source_folder(declared: Path) -> Path:
    """The folder a ``source:`` names. Raises InputError when there is none."""
    if declared.is_dir():
        return declared
    raise InputError(f"scheduler source {declared}: found no such folder", fix="correct source: in ktstr.yaml")
