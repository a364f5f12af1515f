"""Agent, schedulers and guest images of one plan, addressed by their inputs.

Nothing is built here; each becomes a step of the graph, with the file that proves it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ktstr import resources
from ktstr.config.model import SchedulerDecl
from ktstr.errors import KtstrError
from ktstr.files import write_atomic
from ktstr.planning.kernel import Archive, Kernel
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps
from ktstr.planning.tools import ToolSteps
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.find import depends_on_kernel, find_scheduler
from ktstr.vm import agent as agents
from ktstr.vm import guest_image


@dataclass(frozen=True)
class Image:
    """A guest image of the plan. ``binary`` is the scheduler's file name in it, None for the kernel's own."""

    task: str
    digest: str
    path: Path
    binary: str | None


@dataclass(frozen=True)
class Agent:
    """The guest agent: where it is or will be, and the digest of what it is made from."""

    path: Path
    digest: str


def _sha(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Images:
    """The images that the cells of one plan boot with, each made once."""

    def __init__(self, request: Request, archive: Archive, tools: ToolSteps, steps: Steps) -> None:
        self._environ, self._cache, self._tools, self._steps = request.environ, archive.cache, tools, steps
        self._images: dict[tuple[str, str], Image | KtstrError] = {}
        self._agent: Agent | None = None

    def agent(self) -> Agent:
        """The guest agent, and its step."""
        if self._agent is None:
            folder, cc = resources.c_dir(), agents.compiler(self._environ)
            digest = agents.inputs_digest(folder, agents.toolchain_identity(cc))
            path = self._cache.entry("agents", digest) / "agent"
            self._steps.add(Step("agent", "", path, lambda: agents.build(folder, cc, path, digest, self._cache.cancel)))
            self._agent = Agent(path, digest)
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
        """What a scheduler is made for, and with."""
        return Build(
            kernel.label, kernel.identity, kernel.task, kernel.btf, self._tools.bpf, self._cache, self._environ
        )

    def _image(self, artifact: Artifact | None) -> Image:
        agent = self.agent()
        parts = () if artifact is None else (artifact.inputs, artifact.libraries)
        digest = _sha(f"format {guest_image.FORMAT}", agent.digest, *parts)
        path = self._cache.entry("images", digest) / "image.cpio"
        needs = ("agent",) if artifact is None else ("agent", *self._scheduler_step(artifact))
        name = "agent-only" if artifact is None else artifact.name
        task = self._steps.add(Step("image", name, path, lambda: _pack(agent, artifact, path), needs))
        return Image(task, digest, path, None if artifact is None else artifact.binary.name)

    def _scheduler_step(self, artifact: Artifact) -> tuple[str, ...]:
        """The task that builds it; none for a program that is there."""
        if artifact.build is None or artifact.fresh is None or artifact.target is None:
            return ()
        fresh = artifact.fresh
        step = Step(
            "scheduler", artifact.name, artifact.target, artifact.build, artifact.needs, lambda: fresh() or None
        )
        return (self._steps.add(step),)


def _pack(agent: Agent, artifact: Artifact | None, path: Path) -> None:
    """Make an image of what is there now, unless it is no longer what was planned."""
    data = guest_image.base_part(agent.path)
    if artifact is not None:
        data += guest_image.scheduler_part(artifact.binary, artifact.folders)
        artifact.verify()
    write_atomic(path, data, setting="KTSTR_CACHE_DIR")
