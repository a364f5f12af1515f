"""Agent, schedulers and guest images of one plan, addressed by their inputs.

Nothing is built here; each becomes a step of the graph, with the file that proves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr import resources
from ktstr.config.model import PayloadDecl, SchedulerDecl, TestDecl
from ktstr.errors import HostError, KtstrError
from ktstr.files import write_atomic
from ktstr.host.libraries import library_path
from ktstr.kernels.cache import CONFIG
from ktstr.kernels.cache import KIND as KERNELS
from ktstr.planning.kernel import Archive, Kernel
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps
from ktstr.planning.tools import ToolSteps
from ktstr.planning.turn import build_turn
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.find import depends_on_kernel, find_scheduler
from ktstr.schedulers.surroundings import Surroundings, other_home, surroundings, verify
from ktstr.vm import agent as agents
from ktstr.vm import guest_image

if TYPE_CHECKING:
    from ktstr.record.sidecar import ResolveSource
    from ktstr.vm.payload_image import Part


@dataclass(frozen=True)
class ConfigPart:
    """A kernel's configuration as part of an initramfs: what makes it, the digest of its inputs, and its file."""

    task: str
    digest: str
    path: Path


@dataclass(frozen=True)
class OtherPart:
    """A scheduler that may take the place of an image's own: what makes its part of the initramfs, the digest of that
    part's inputs, its file, the program's file name, and its bytes as ``Image.unpacked``."""

    name: str
    task: str
    digest: str
    path: Path
    binary: str
    unpacked: int


@dataclass(frozen=True)
class FilesPart:
    """A payload, or a test's include files, as part of the initramfs: what makes it, the digest of its inputs, its
    file, and the bytes that it unpacks to."""

    task: str
    digest: str
    path: Path
    unpacked: int


@dataclass(frozen=True)
class Image:
    """A guest image of the plan. ``binary`` is the scheduler's file name in it, None for the kernel's own.

    ``config``: the configuration of the kernel it boots with, which a scheduler that is a program may read.
    ``others``: schedulers that may take its place. ``unpacked``: bytes of the scheduler and what goes with it, and of
    the others, as far as they are known before they are built. ``files``: payloads and include files of its test.
    ``resolve_source``: the sidecar's word for how the scheduler was found. ``agent`` and ``scheduler``: digests of what
    two of its parts are made from; the latter is None without a program.
    """

    task: str
    digest: str
    path: Path
    binary: str | None
    config: ConfigPart | None = None
    unpacked: int = 0
    resolve_source: ResolveSource = "not_found"
    others: tuple[OtherPart, ...] = ()
    files: tuple[FilesPart, ...] = ()
    agent: str = ""
    scheduler: str | None = None

    @property
    def _more(self) -> tuple[OtherPart | ConfigPart | FilesPart, ...]:
        config = () if self.config is None else (self.config,)
        return (*self.others, *config, *self.files)

    @property
    def file_bytes(self) -> int:
        """What payloads and include files unpack to."""
        return sum(part.unpacked for part in self.files)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What makes it all."""
        return (self.task, *(part.task for part in self._more))

    @property
    def digests(self) -> tuple[str, ...]:
        """What it all is."""
        return (self.digest, *(part.digest for part in self._more))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The parts of the initramfs, in order."""
        return (self.path, *(part.path for part in self._more))


@dataclass(frozen=True)
class Agent:
    """The guest agent: where it is or will be, and the digest of what it is made from."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Packed:
    """What the part of a scheduler that is a program holds; ``agent``: None where another part has it."""

    agent: Agent | None
    scheduler: SchedulerDecl
    artifact: Artifact
    around: Surroundings


def _sha(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Images:
    """The images that the cells of one plan boot with, each made once."""

    def __init__(self, request: Request, archive: Archive, tools: ToolSteps, steps: Steps) -> None:
        self._request, self._cache, self._tools, self._steps = request, archive.cache, tools, steps
        self._images: dict[tuple[str, str], Image | KtstrError] = {}
        self._others: dict[tuple[str, str], OtherPart] = {}
        self._files: dict[tuple[str, ...], tuple[FilesPart, ...] | KtstrError] = {}
        self._agent: Agent | None = None

    def agent(self) -> Agent:
        """The guest agent, and its step."""
        if self._agent is None:
            folder, cc = resources.c_dir(), agents.compiler(self._request.environ)
            digest = agents.inputs_digest(folder, agents.toolchain_identity(cc))
            path = self._cache.entry("agents", digest) / "agent"
            self._steps.add(Step("agent", "", path, lambda: agents.build(folder, cc, path, digest, self._cache.cancel)))
            self._agent = Agent(path, digest)
        return self._agent

    def image(self, scheduler: SchedulerDecl, kernel: Kernel, others: Sequence[SchedulerDecl] = ()) -> Image:
        """The image for a scheduler on a kernel; one of the kernel's own holds the agent alone. ``others``: programs
        that may take its place.

        Raises KtstrError for whatever is wrong with one of the schedulers, each time the same.
        """
        image = self._alone(scheduler, kernel)
        parts = tuple(self._other(other, kernel) for other in others)
        unpacked = image.unpacked + sum(part.unpacked for part in parts)
        return replace(image, others=parts, unpacked=unpacked) if parts else image

    def _alone(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        key = (scheduler.name, kernel.identity if depends_on_kernel(scheduler) else "")
        if key not in self._images:
            try:
                self._images[key] = self._image(scheduler, find_scheduler(scheduler, self._build(kernel)))
            except KtstrError as err:
                self._images[key] = err
        image = self._images[key]
        if isinstance(image, KtstrError):
            raise image
        return image if image.binary is None else replace(image, config=self._config(kernel))

    def _other(self, scheduler: SchedulerDecl, kernel: Kernel) -> OtherPart:
        key = (scheduler.name, kernel.identity if depends_on_kernel(scheduler) else "")
        if key not in self._others:
            self._others[key] = self._other_part(scheduler, kernel)
        return self._others[key]

    def _other_part(self, scheduler: SchedulerDecl, kernel: Kernel) -> OtherPart:
        artifact = find_scheduler(scheduler, self._build(kernel))
        if artifact is None:
            raise ValueError(f"scheduler {scheduler.name} is no program, and takes no other one's place")
        around = surroundings(scheduler, other_home(scheduler.name))
        digest = _sha(f"other format {guest_image.FORMAT}", artifact.inputs, artifact.libraries, around.digest)
        path = self._cache.entry("images", digest) / "image.cpio"
        packed = Packed(None, scheduler, artifact, around)
        needs = self._scheduler_step(artifact)
        task = self._steps.add(Step("image", f"other-{artifact.name}", path, lambda: _pack(packed, path), needs))
        return OtherPart(scheduler.name, task, digest, path, artifact.binary.name, artifact.size + around.size)

    def with_files(self, image: Image, test: TestDecl, payloads: Sequence[PayloadDecl]) -> Image:
        """The image with the payloads that a test runs, and its include files; the same one without any.

        Raises InputError for one that the guest could not run, or that lacks a file, each time the same.
        """
        if not payloads and not test.include_files:
            return image
        key = (test.name, *(payload.name for payload in payloads))
        if key not in self._files:
            try:
                self._files[key] = self._files_parts(test, payloads)
            except KtstrError as err:
                self._files[key] = err
        found = self._files[key]
        if isinstance(found, KtstrError):
            raise found
        return replace(image, files=found)

    def _files_parts(self, test: TestDecl, payloads: Sequence[PayloadDecl]) -> tuple[FilesPart, ...]:
        from ktstr.vm import payload_image  # most plans have no payloads

        ordered = sorted(payloads, key=lambda payload: payload.name)  # tests that use the same ones share a machine
        environ = self._request.environ
        looks = [
            partial(payload_image.payload_part, one, library_path(environ), environ.get("PATH")) for one in ordered
        ]
        names = [f"payload-{one.name}" for one in ordered]
        if test.include_files:
            looks.append(partial(payload_image.include_part, test))
            names.append(f"files-{test.name}")
        parts = [look() for look in looks]
        payload_image.check_places(parts)
        return tuple(self._files_part(*one) for one in zip(names, parts, looks, strict=True))

    def _files_part(self, name: str, part: Part, look: Callable[[], Part]) -> FilesPart:
        digest = _sha(f"files format {guest_image.FORMAT}", part.digest)
        path = self._cache.entry("images", digest) / "image.cpio"
        task = self._steps.add(Step("image", name, path, lambda: _pack_files(part, look, path)))
        return FilesPart(task, digest, path, part.size)

    def _config(self, kernel: Kernel) -> ConfigPart:
        digest = _sha(f"config format {guest_image.FORMAT}", kernel.identity)
        path = self._cache.entry("images", digest) / "image.cpio"
        step = Step("image", f"config-{kernel.label}", path, lambda: _pack_config(kernel, path), (kernel.task,))
        return ConfigPart(self._steps.add(step), digest, path)

    def _build(self, kernel: Kernel) -> Build:
        """What a scheduler is made for, and with."""
        request = self._request
        return Build(
            kernel.label,
            kernel.identity,
            kernel.task,
            kernel.btf,
            self._tools.bpf,
            self._cache,
            request.environ,
            request.options.fetching.offline,
            request.progress.building,
            lambda: build_turn(request),
            request.project.stand,
            kernel.sources,
        )

    def _image(self, scheduler: SchedulerDecl, artifact: Artifact | None) -> Image:
        agent = self.agent()
        if artifact is None:
            digest = _sha(f"format {guest_image.FORMAT}", agent.digest)
            path = self._cache.entry("images", digest) / "image.cpio"
            task = self._steps.add(Step("image", "agent-only", path, lambda: _pack_agent(agent, path), ("agent",)))
            return Image(task, digest, path, None, agent=agent.digest)
        around = surroundings(scheduler)
        digest = _sha(f"format {guest_image.FORMAT}", agent.digest, artifact.inputs, artifact.libraries, around.digest)
        path = self._cache.entry("images", digest) / "image.cpio"
        packed = Packed(agent, scheduler, artifact, around)
        needs = ("agent", *self._scheduler_step(artifact))
        task = self._steps.add(Step("image", artifact.name, path, lambda: _pack(packed, path), needs))
        size = artifact.size + around.size
        return Image(
            task, digest, path, artifact.binary.name, unpacked=size, resolve_source=artifact.resolve_source,
            agent=agent.digest, scheduler=_sha(artifact.inputs, artifact.libraries, around.digest),
        )  # fmt: skip

    def _scheduler_step(self, artifact: Artifact) -> tuple[str, ...]:
        """The task that builds it; none for a program that is there."""
        if artifact.build is None or artifact.fresh is None or artifact.target is None:
            return ()
        fresh = artifact.fresh
        step = Step(
            "scheduler", artifact.name, artifact.target, artifact.build, artifact.needs, lambda: fresh() or None
        )
        return (self._steps.add(step),)


def _pack_config(kernel: Kernel, path: Path) -> None:
    """Make the part of the kernel's entry. Raises HostError when that is gone or cannot be read."""
    with kernel.place.cache.reading(KERNELS, kernel.place.key):
        entry = kernel.entry()
        if entry is None:
            raise HostError(f"kernel {kernel.label}: its cache entry is gone", fix="run the command again")
        file = entry.metadata.with_name(CONFIG)
        try:
            config = file.read_bytes() if entry.facts[CONFIG] is not None else None
        except OSError as err:
            raise HostError(f"{file}: {err.strerror}", fix="run the command again") from err
    write_atomic(path, guest_image.config_part(entry.version, config), setting="KTSTR_CACHE_DIR")


def _pack_agent(agent: Agent, path: Path) -> None:
    write_atomic(path, guest_image.base_part(agent.path), setting="KTSTR_CACHE_DIR")


def _pack_files(part: Part, look: Callable[[], Part], path: Path) -> None:
    """Make the part of what is there now, unless ``look`` finds that it is no longer what was planned."""
    from ktstr.vm import payload_image

    data = payload_image.packed(part)
    payload_image.verify(look(), part)
    write_atomic(path, data, setting="KTSTR_CACHE_DIR")


def _pack(packed: Packed, path: Path) -> None:
    """Make an image of what is there now, unless it is no longer what was planned."""
    artifact = packed.artifact
    data = b"" if packed.agent is None else guest_image.base_part(packed.agent.path)
    data += guest_image.scheduler_part(artifact.binary, artifact.folders, packed.around)
    artifact.verify()
    verify(packed.scheduler, packed.around)
    write_atomic(path, data, setting="KTSTR_CACHE_DIR")
