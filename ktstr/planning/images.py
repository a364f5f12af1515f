"""Agent, schedulers and guest images of one plan, addressed by their inputs.

Nothing is built here; each becomes a step of the graph, with the file that proves it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr import resources
from ktstr.config.model import SchedulerDecl
from ktstr.errors import InputError
from ktstr.files import file_sha256, full_or_denied
from ktstr.host.elf import find_library, system_folders
from ktstr.planning.kernels import Archive, Kernel
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps
from ktstr.planning.tools import ToolSteps
from ktstr.schedulers.build import METADATA, build, inputs_digest, load_built, scheduler_name
from ktstr.schedulers.find import find_binary
from ktstr.schedulers.toolchain import find_toolchain
from ktstr.vm import agent as agents
from ktstr.vm import guest_image

# The libraries that a scheduler built by schedulers.build links to, and what those need.
RUNTIME = ("libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6", "libelf.so.1", "libz.so.1", "libzstd.so.1")


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


class Images:
    """The images that the cells of one plan boot with, each made once."""

    def __init__(self, request: Request, archive: Archive, tools: ToolSteps, steps: Steps) -> None:
        self._environ, self._cache, self._tools, self._steps = request.environ, archive.cache, tools, steps
        self._images: dict[tuple[str, str], Image] = {}
        self._agent: Agent | None = None

    def agent(self) -> Agent:
        """The guest agent, and its step."""
        if self._agent is None:
            folder, cc = resources.c_dir(), agents.compiler(self._environ)
            digest = agents.inputs_digest(folder, agents.toolchain_identity(cc))
            path = self._cache.entry("agents", digest) / "agent"
            self._steps.add(Step("agent", "", path, lambda: agents.build(folder, cc, path)))
            self._agent = Agent(path, digest)
        return self._agent

    def image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        """The image for a scheduler on a kernel; one without a binary holds the agent alone."""
        per_kernel = kernel.identity if scheduler.source is not None else ""
        key = (str(scheduler.source or scheduler.path or ""), per_kernel)
        if key not in self._images:
            self._images[key] = self._make_image(scheduler, kernel)
        return self._images[key]

    def _make_image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        agent = self.agent()
        if scheduler.builtin is not None:
            return self._image("agent-only", _sha(agent.digest), None, ("agent",))
        if scheduler.path is not None:
            binary = find_binary(scheduler)
            assert binary is not None
            folders = guest_image.library_path(self._environ)
            places = guest_image.library_places(binary, folders)
            parts = sorted(f"{place} {file_sha256(path)}" for place, path in places.items())
            digest = _sha(agent.digest, binary.name, file_sha256(binary), *parts)
            return self._image(scheduler.name, digest, binary, ("agent",), folders)
        return self._built_image(scheduler, kernel)

    def _built_image(self, scheduler: SchedulerDecl, kernel: Kernel) -> Image:
        assert scheduler.source is not None
        source, tools = source_folder(scheduler.source), self._tools.bpf()
        inputs = inputs_digest(source, kernel.identity, find_toolchain(tools, self._environ))
        out = self._cache.entry("schedulers", inputs)
        name = f"{scheduler_name(source)}@{kernel.label}"
        task = self._steps.add(
            Step(
                "scheduler",
                name,
                out / METADATA,
                lambda: build(source, kernel.btf, tools, out, inputs),
                ("tools:bpf", kernel.task),
                lambda: load_built(out, inputs),
            )
        )
        binary = out / scheduler_name(source)
        # This machine's libraries first: the bundle's C library is older than a loader compiled here may need.
        folders = (*system_folders(), tools.libbpf_a.parent)
        digest = _sha(self.agent().digest, inputs, *_runtime(system_folders()))
        return self._image(name, digest, binary, ("agent", task), folders)

    def _image(
        self, name: str, digest: str, binary: Path | None, needs: tuple[str, ...], folders: tuple[Path, ...] = ()
    ) -> Image:
        agent = self.agent()
        digest = _sha(f"format {guest_image.FORMAT}", digest)
        path = self._cache.entry("images", digest) / "image.cpio"

        def make() -> None:
            parts = guest_image.base_part(agent.path)
            if binary is not None:
                parts += guest_image.scheduler_part(binary, folders)
            _write(path, parts)

        task = self._steps.add(Step("image", name, path, make, needs))
        return Image(task, digest, path, None if binary is None else binary.name)


def _runtime(folders: Sequence[Path]) -> Iterator[str]:
    """What this machine gives a loader compiled here: part of the image before the image is made."""
    for name in RUNTIME:
        library = find_library(name, folders)
        yield f"{name} {'' if library is None else file_sha256(library)}"


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
