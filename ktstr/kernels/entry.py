"""A kernel that is in the cache and can boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KernelEntry:
    """One cache entry. ``metadata`` is the target of the kernel's task; ``vmlinux`` is what boots.

    ``version`` is the release as the kernel prints it; ``digest`` the SHA-256 of vmlinux.
    """

    key: str
    version: str
    vmlinux: Path
    metadata: Path
    digest: str
    btf: Path | None
    sched_ext: bool
