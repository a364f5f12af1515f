"""What a plan knows of a scheduler's program, before it is built or packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ktstr.host.cache import Cache
from ktstr.host.cpu_topology import allowed_cpus
from ktstr.progress import Steps
from ktstr.tools.pinned import BpfTools

if TYPE_CHECKING:
    from ktstr.record.sidecar import ResolveSource

OnSteps: TypeAlias = Callable[[Steps], None]
Turn: TypeAlias = Callable[[], AbstractContextManager[tuple[int, ...] | None]]


def _untold(what: str) -> OnSteps:
    return lambda steps: None


def _at_once() -> AbstractContextManager[tuple[int, ...] | None]:
    return nullcontext(tuple(sorted(allowed_cpus())))


@dataclass(frozen=True)
class KernelSources:
    """The source tree that a kernel was made from. ``identity``: SHA-256 over all of it; ``name``: what messages say.

    ``tree``: gives its folder, fetched when it is not here, which nobody changes while it is used. Raises InputError
    or HostError when it cannot be had, Changed at the end for a tree of the user's that was edited meanwhile.
    """

    identity: str
    name: str
    tree: Callable[[], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Build:
    """What a scheduler is made for, and with. A kind that is not built looks at ``environ`` alone.

    ``stand`` is where the user stands, which paths in ``environ`` are relative to. ``sources``: gives those of the
    kernel, None for a kernel of which nothing says them; it may ask the archive, and raise InputError or HostError.

    ``kernel_identity`` names the kernel's content before it is made, ``kernel_task`` makes it, and ``btf`` is where
    its raw BTF is then. ``tools`` gives the BPF tools as they are or will be in the cache; it is called for the
    kinds that need them (whose artifact then needs the task ``tools:bpf``), and may raise HostError.

    For builds that take minutes: ``offline`` forbids them the network, ``progress`` is what tells the user how far
    the one of that name is, and ``turn`` gives the CPUs to build on, when they are free (None: no longer wanted).
    """

    kernel_label: str
    kernel_identity: str
    kernel_task: str
    btf: Path
    tools: Callable[[], BpfTools]
    cache: Cache
    environ: Mapping[str, str]
    offline: bool = False
    progress: Callable[[str], OnSteps] = _untold
    turn: Turn = _at_once
    stand: Path = Path()
    sources: Callable[[], KernelSources] | None = None


@dataclass(frozen=True)
class Artifact:
    """A scheduler's program, as it is or will be, and what packing it into an image takes.

    - ``name``: what the graph calls its steps, such as ``scx_mine`` or ``scx_mine@6.14``.
    - ``inputs``: SHA-256 over everything that decides its content.
    - ``libraries``: SHA-256 over the libraries that go with it; ``folders`` is where they are sought after its
      RUNPATH. An image holds what ``inputs`` and ``libraries`` stand for, so both are in the image's key.
    - ``size``: bytes of the program and its libraries, by which the guest's memory is sized: the same before and after
      it is built, so an allowance for a crate, and 0 for a source, whose few MB any guest has room for.
    - ``resolve_source``: the sidecar's word for how the program was found.
    - ``needs``: the tasks that come before its build.
    - ``target``: the file that proves it built. ``build`` makes it, ``fresh`` tells whether it is whole and of these
      inputs. All three are None for a program that is there already.
    - ``verify``: raises KtstrError unless program and libraries are still what ``inputs`` and ``libraries`` say. To
      be called when they have been packed, before the image is stored: nothing that was edited since the plan was
      made may get the plan's name.

    ``build`` and ``verify`` raise InputError or HostError.
    """

    name: str
    inputs: str
    libraries: str
    binary: Path
    verify: Callable[[], None]
    folders: tuple[Path, ...] = ()
    size: int = 0
    needs: tuple[str, ...] = ()
    target: Path | None = None
    build: Callable[[], None] | None = None
    fresh: Callable[[], bool] | None = None
    resolve_source: ResolveSource = "auto_built"
