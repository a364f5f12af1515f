"""A kernel as planned: what is known of it before it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.kernels.cache import lookup_entry, metadata_path
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.spec import Spec
from ktstr.schedulers.artifact import KernelSources


@dataclass(frozen=True)
class Archive:
    """Where artifacts are kept, and where those come from that are not made here."""

    cache: Cache
    apt: Apt


@dataclass(frozen=True)
class Entry:
    """A place in a cache, by the content that is or will be there."""

    key: str
    identity: str
    cache: Cache


@dataclass(frozen=True)
class Kernel:
    """A kernel of the plan. ``place.identity`` names its content before it is made; ``task`` makes it.

    ``sources``: gives those it is made from, as ``schedulers.artifact.Build`` has it.
    """

    label: str
    spec: Spec
    place: Entry
    kargs: tuple[str, ...]
    task: str
    commit: str | None = None
    sources: Callable[[], KernelSources] | None = field(default=None, compare=False, repr=False)

    @property
    def identity(self) -> str:
        return self.place.identity

    @property
    def metadata(self) -> Path:
        return metadata_path(self.place.key, self.place.cache)

    @property
    def vmlinux(self) -> Path:
        return self.metadata.with_name("vmlinux")

    @property
    def btf(self) -> Path:
        return self.metadata.with_name("vmlinux.btf")

    def entry(self) -> KernelEntry | None:
        """What is in the cache; None before it is there."""
        return lookup_entry(self.place.cache, self.place.key, self.place.identity)

    def version(self) -> str | None:
        """The release as the kernel prints it; None before it is in the cache."""
        entry = self.entry()
        return None if entry is None else entry.version
