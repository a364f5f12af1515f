"""Which kernel to use when nobody named one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktstr.host.cache import Cache
from ktstr.kernels.kconfig import load_kconfig
from ktstr.kernels.listing import MATCHES, kconfig_status, read_cache
from ktstr.kernels.spec import DEFAULT

_TREES = ("linux", "../linux")


@dataclass(frozen=True)
class Found:
    """A kernel spec, and why it was chosen."""

    spec: str
    why: str


def discover(cache: Cache, stand: Path) -> Found:
    """The newest cached kernel that was configured as ktstr would configure it today, else ``./linux``, ``../linux``,
    else the distribution's. Prebuilt kernels in the cache are passed over: nobody asked for those here."""
    for row in read_cache(cache):
        if row.entry is not None and kconfig_status(row.entry.facts, load_kconfig) == MATCHES:
            return Found(row.key, "the newest in the cache with today's configuration")
    for name in _TREES:
        path = stand / name
        if (path / "Makefile").is_file() and (path / "Kconfig").is_file():
            return Found(str(path.resolve()), f"the tree ./{name}" if name == "linux" else f"the tree {name}")
    return Found(str(DEFAULT), "the distribution's: the cache has no kernel built here, and ./linux, ../linux are none")
