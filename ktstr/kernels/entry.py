"""A kernel that is in the cache and can boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KernelEntry:
    """One cache entry. ``metadata`` is the target of the kernel's task; ``vmlinux`` is what boots.

    ``version`` is the release as the kernel prints it; ``digest`` the SHA-256 of vmlinux; ``identity`` that of
    what it was made from. ``hz`` and ``preempt`` are as ``config_facts`` gives them; ``facts`` are all of
    ``metadata.json``.
    """

    key: str
    identity: str
    version: str
    vmlinux: Path
    metadata: Path
    digest: str
    btf: Path | None
    sched_ext: bool
    hz: int | None
    preempt: str | None
    facts: Mapping[str, Any]
