"""What cells are made of: kernels, tools, agent, schedulers and images, addressed by their inputs.

Nothing is built or fetched here but what resolving needs; each artifact becomes a step of
the graph, with the file that proves it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr import resources
from ktstr.config.model import Config, SchedulerDecl, TestDecl
from ktstr.config.topology import Topology
from ktstr.errors import KtstrError
from ktstr.files import full_or_denied
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.pins.lock import Pin
from ktstr.planning.kernels import Kernel, Kernels
from ktstr.planning.pins import Pins
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.find import depends_on_kernel, find_scheduler
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
        self._images: dict[tuple[str, str], Image | KtstrError] = {}
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
        from ktstr.vm.host_cpus import HostCpus  # these take a while, and most runs are emulated or have nothing to do
        from ktstr.vm.kvm import KvmMachine
        from ktstr.vm.snapshots import Snapshots

        session = self._session
        host_cpus = HostCpus(session.environ, session.number("cpu_cap"), session.progress.step)
        return KvmMachine(extension, host_cpus, None if session.flag("no_clone") else Snapshots(self.cache))

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
            self._step("agent", "", path, lambda: agents.build(folder, cc, path, digest))
            self._agent = (path, digest)
        return self._agent

    def image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        """The image for a scheduler on a kernel; one of the kernel's own holds the agent alone.

        Raises KtstrError for whatever is wrong with the scheduler, each time the same.
        """
        key = (scheduler.name, kernel.identity if depends_on_kernel(scheduler) else "")
        if key not in self._images:
            try:
                self._images[key] = self._image(find_scheduler(scheduler, self._build(kernel)))
            except KtstrError as err:
                self._images[key] = err
        image = self._images[key]
        if isinstance(image, KtstrError):
            raise image
        return image

    def _build(self, kernel: Kernel) -> Build:
        return Build(
            kernel.label, kernel.identity, kernel.task, kernel.btf, self._bpf, self.cache, self._session.environ
        )

    def _scheduler_step(self, artifact: Artifact) -> tuple[str, ...]:
        """The task that builds it; none for a program that is there."""
        if artifact.build is None or artifact.fresh is None or artifact.target is None:
            return ()
        fresh = artifact.fresh
        step = self._step(
            "scheduler", artifact.name, artifact.target, artifact.build, artifact.needs, lambda: fresh() or None
        )
        return (step,)

    def _image(self, artifact: Artifact | None) -> Image:
        agent, agent_digest = self.agent()
        parts = () if artifact is None else (artifact.inputs, artifact.libraries)
        digest = _sha(f"format {images.FORMAT}", agent_digest, *parts)
        path = self.cache.entry("images", digest) / "image.cpio"

        def make() -> None:
            data = images.base_part(agent)
            if artifact is not None:
                data += images.scheduler_part(artifact.binary, artifact.folders)
                artifact.verify()
            _write(path, data)

        needs = ("agent",) if artifact is None else ("agent", *self._scheduler_step(artifact))
        task = self._step("image", "agent-only" if artifact is None else artifact.name, path, make, needs)
        return Image(task, digest, path, None if artifact is None else artifact.binary.name)

    def memory_mib(self, test: TestDecl, topology: Topology) -> int:
        return memory_mib(topology, test.memory_mib)


def _planned_qemu(pin: Pin, cache: Cache) -> Tool:
    """QEMU as it is or will be in the cache: its digest is the pin's either way."""
    return qemu_tool(bundle.Bundle("qemu", cache.entry("tools", pin.digest), pin.version, pin.digest))
