"""What cells are made of: kernels, tools, agent, schedulers and images, addressed by their inputs.

Nothing is built or fetched here but what resolving needs; each artifact becomes a step of
the graph, with the file that proves it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr import resources
from ktstr.config.model import Config, SchedulerDecl, TestDecl
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.files import file_sha256, full_or_denied
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.host.elf import find_library, system_folders
from ktstr.pins.lock import Pin
from ktstr.planning.kernels import Kernel, Kernels
from ktstr.planning.pins import Pins
from ktstr.schedulers.build import METADATA, inputs_digest, load_built, scheduler_name
from ktstr.schedulers.build import build as build_scheduler
from ktstr.schedulers.find import find_binary
from ktstr.schedulers.toolchain import find_toolchain
from ktstr.tools import bundle
from ktstr.tools.pinned import (
    BpfTools,
    Tool,
    bpf_tool,
    ensure_bpf,
    ensure_qemu,
    lookup_bpf,
    lookup_qemu,
    qemu_tool,
    tool_metadata,
)
from ktstr.vm import agent as agents
from ktstr.vm import guest_image as images
from ktstr.vm import probe_kvm, vmm_build
from ktstr.vm.machine import Machine
from ktstr.vm.memory import memory_mib
from ktstr.vm.qemu import QemuMachine

if TYPE_CHECKING:
    from ktstr.planning.plan import Step
    from ktstr.tasks.session import Session

# The libraries that a scheduler built by schedulers.build links to, and what those need.
RUNTIME = ("libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6", "libelf.so.1", "libz.so.1", "libzstd.so.1")
FAMILIES = ("tools", "vmm", "agent", "source", "kernel", "scheduler", "image")


@dataclass(frozen=True)
class Image:
    """A guest image of the plan. ``binary`` is the scheduler's file name in it, None for the kernel's own."""

    task: str
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
        self._pins = Pins(session)
        self._steps: dict[str, dict[str, Step]] = {family: {} for family in FAMILIES}
        self.kernels = Kernels(session, config, self.cache, self._apt, self._pins, self._step)
        self._images: dict[tuple[str, str], Image] = {}
        self._agent: tuple[Path, str] | None = None

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
    ) -> str:
        """Add the step that makes ``target``, once, and give its task's name.

        Two names for one target are one step; one name for two targets gets a part of the second's
        place. ``fresh`` decides for targets that can be damaged; else the target's being there does.
        """
        from ktstr.planning.plan import Step

        steps = self._steps[family]
        for known in steps.values():
            if known.target == target:
                return known.task(family)

        def act() -> None:
            make()

        def is_fresh() -> bool:
            return target.is_file() if fresh is None else fresh() is not None

        free = name if name not in steps else f"{name}-{_sha(str(target))[:8]}"
        steps[free] = Step(free, target, act, is_fresh, tuple(needs))
        return steps[free].task(family)

    def check_updates(self) -> None:
        """Refuse a ``lock_update=`` that names nothing of this plan."""
        self._pins.check_updates(self.kernels.names())

    # Tools and machine

    def machine(self) -> tuple[Machine, str]:
        """The machine that ``accel=`` names, and the task it comes from.

        ``auto`` is kvm where a probe guest runs to its end in it, else icount; the reason is printed.
        """
        accel = self._session.text("accel") or "auto"
        if accel == "auto":
            accel = self._best()
        if accel == "kvm" or "vmm" in self._session.words:
            task, extension = self._vmm()
        return (self._kvm(extension), task) if accel == "kvm" else (self._qemu(accel), "tools:qemu")

    def _best(self) -> str:
        kvm = probe_kvm.judge(self._session.environ)
        accel = "kvm" if kvm.usable else "icount"
        self._session.accel_reason = kvm.detail
        self._session.progress.step(f"accel={accel}: {kvm.detail}")
        return accel

    def _vmm(self) -> tuple[str, vmm_build.Extension]:
        """The step that compiles the VMM, and what it makes."""
        extension = vmm_build.planned(self.cache, self._session.environ)
        return self._step("vmm", "", extension.path, extension.make), extension

    def _kvm(self, extension: vmm_build.Extension) -> Machine:
        from ktstr.vm.kvm import KvmMachine  # these take a while, and most runs are emulated or have nothing to do
        from ktstr.vm.snapshots import Snapshots

        return KvmMachine(extension, None if self._session.flag("no_clone") else Snapshots(self.cache))

    def _qemu(self, accel: str) -> QemuMachine:
        pin = self._pins.tool("qemu", self._apt)
        self._step(
            "tools",
            "qemu",
            tool_metadata("qemu", pin, self.cache),
            lambda: ensure_qemu(pin, self.cache, self._apt),
            fresh=lambda: lookup_qemu(pin, self.cache),
        )
        return QemuMachine(_planned_qemu(pin, self.cache), accel)

    def _bpf(self) -> BpfTools:
        """The BPF tools as they are or will be in the cache."""
        pin = self._pins.tool("bpf", self._apt)
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
            digest = agents.inputs_digest(folder, agents.toolchain_identity(cc))
            path = self.cache.entry("agents", digest) / "agent"
            self._step("agent", "", path, lambda: agents.build(folder, cc, path))
            self._agent = (path, digest)
        return self._agent

    def image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        """The image for a scheduler on a kernel; one without a binary holds the agent alone."""
        per_kernel = kernel.identity if scheduler.source is not None else ""
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
        source, tools = source_folder(scheduler.source), self._bpf()
        inputs = inputs_digest(source, kernel.identity, find_toolchain(tools, self._session.environ))
        out = self.cache.entry("schedulers", inputs)
        name = f"{scheduler_name(source)}@{kernel.label}"

        def make() -> object:
            return build_scheduler(source, kernel.btf, tools, out, inputs)

        task = self._step(
            "scheduler",
            name,
            out / METADATA,
            make,
            ("tools:bpf", kernel.task),
            fresh=lambda: load_built(out, inputs),
        )
        binary = out / scheduler_name(source)
        # This machine's libraries first: the bundle's C library is older than a loader compiled here may need.
        folders = (*system_folders(), tools.libbpf_a.parent)
        digest = _sha(agent_digest, inputs, *_runtime(system_folders()))
        return self._image(name, digest, agent, binary, ("agent", task), folders)

    def _image(
        self,
        name: str,
        digest: str,
        agent: Path,
        binary: Path | None,
        needs: tuple[str, ...],
        folders: tuple[Path, ...] = (),
    ) -> Image:
        digest = _sha(f"format {images.FORMAT}", digest)
        path = self.cache.entry("images", digest) / "image.cpio"

        def make() -> None:
            parts = images.base_part(agent)
            if binary is not None:
                parts += images.scheduler_part(binary, folders)
            _write(path, parts)

        task = self._step("image", name, path, make, needs)
        return Image(task, digest, path, None if binary is None else binary.name)

    def memory_mib(self, test: TestDecl, topology: Topology) -> int:
        return memory_mib(topology, test.memory_mib)


def _runtime(folders: Sequence[Path]) -> Iterator[str]:
    """What this machine gives a loader compiled here: part of the image before the image is made."""
    for name in RUNTIME:
        found = find_library(name, folders)
        yield f"{name} {'' if found is None else file_sha256(found)}"


def _planned_qemu(pin: Pin, cache: Cache) -> Tool:
    """QEMU as it is or will be in the cache: its digest is the pin's either way."""
    return qemu_tool(bundle.Bundle("qemu", cache.entry("tools", pin.digest), pin.version, pin.digest))


def source_folder(declared: Path) -> Path:
    """The folder a ``source:`` names, else that of the scheduler of its name that comes with ktstr.

    Raises InputError when there is neither.
    """
    if declared.is_dir():
        return declared
    try:
        return resources.scheduler_source(declared.name)
    except InputError as err:
        raise InputError(
            f"scheduler source {declared}: found no such folder; {err.message}", fix="correct source: in ktstr.yaml"
        ) from None
