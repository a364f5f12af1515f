"""Machines that have booted, kept in the cache to be cloned: each a memory file, a state file, and what the guest
had said by then.

A snapshot fits one boot of one host: CPU model, microcode, host kernel and boot are in its key, so it need
not survive a power cut and is never flushed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ktstr.errors import HostError
from ktstr.files import disk_bytes
from ktstr.host.cache import Cache
from ktstr.host.identity import boot_id, first_cpu, host_class

KIND = "snapshots"
MAX_BYTES = 4 << 30  # of disk for all of them; the oldest go first
_MAKE_S = 900.0
_COUNTER = itertools.count()
_UNFINISHED = re.compile(r"\.tmp-([0-9a-f]{64})-\d+-\d+")  # key, process, number


@dataclass(frozen=True)
class Snapshot:
    """One booted machine, in a folder."""

    folder: Path

    @property
    def channel(self) -> Path:
        return self.folder / "channel.bin"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @contextmanager
    def opened(self) -> Iterator[tuple[int, int]]:
        """The descriptors to clone from: memory, then state."""
        with (self.folder / "memory").open("rb") as memory, (self.folder / "state").open("rb") as state:
            yield memory.fileno(), state.fileno()

    @contextmanager
    def created(self) -> Iterator[tuple[int, int]]:
        """The descriptors of two new files to write memory and state to."""
        with (self.folder / "memory").open("xb+") as memory, (self.folder / "state").open("xb+") as state:
            yield memory.fileno(), state.fileno()


@dataclass(frozen=True)
class Snapshots:
    """The snapshots in a cache."""

    cache: Cache

    def key(self, alike: str, vmm: str, command: tuple[str, ...]) -> str:
        """The digest of what a snapshot is of: kernel and image (``alike``), VMM build, machine and this host."""
        return hashlib.sha256(repr((alike, vmm, command, host_identity())).encode()).hexdigest()

    @contextmanager
    def holding(self, key: str, make: Callable[[Path], bool] | None) -> Iterator[Snapshot | None]:
        """The snapshot, kept from being removed while it is held. Where there is none, ``make`` fills a folder,
        once for all that want it; None when nobody makes it or it says that it could not."""
        if make is not None and not self._is_there(key):
            self._make(key, make)
        with self.cache.reading(KIND, key, _MAKE_S):
            if not self._is_there(key):
                yield None
                return
            folder = self.cache.entry(KIND, key)
            with suppress(OSError):
                os.utime(folder)  # used now: not the oldest
            yield Snapshot(folder)

    def forget(self, key: str) -> None:
        """Remove what turned out to be unusable. Whoever has its files open keeps them."""
        shutil.rmtree(self.cache.entry(KIND, key), ignore_errors=True)

    def _is_there(self, key: str) -> bool:
        return self.cache.entry(KIND, key).is_dir()

    def _make(self, key: str, make: Callable[[Path], bool]) -> None:
        final = self.cache.entry(KIND, key)
        self._sweep()
        with self.cache.writing(KIND, key, _MAKE_S):
            if self._is_there(key):
                return
            temp = final.with_name(f".tmp-{key}-{os.getpid()}-{next(_COUNTER)}")
            try:
                temp.mkdir(parents=True)
                if make(temp):
                    temp.rename(final)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
        self._prune(key)

    def _sweep(self) -> None:
        """Remove what killed processes left half made, which may be of keys that nobody asks for any more."""
        folder = self.cache.root / KIND
        for path in folder.iterdir() if folder.is_dir() else ():
            if unfinished := _UNFINISHED.fullmatch(path.name):
                self._remove(path, unfinished[1])

    def _prune(self, keep: str) -> None:
        """Remove the oldest until all fit; those in use stay."""
        folders = [path for path in (self.cache.root / KIND).iterdir() if not path.name.startswith(".")]
        oldest = sorted((path for path in folders if path.name != keep), key=_used, reverse=True)
        total = disk_bytes(self.cache.entry(KIND, keep))
        for path in oldest:
            total += disk_bytes(path)
            if total > MAX_BYTES:
                self._remove(path, path.name)

    def _remove(self, path: Path, key: str) -> None:
        """Remove what is of ``key``, unless somebody works with that: he holds its lock."""
        with suppress(HostError), self.cache.writing(KIND, key, 0):
            shutil.rmtree(path, ignore_errors=True)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@cache
def host_identity() -> tuple[str, ...]:
    """What a snapshot depends on of this host: its class, what its CPU can do, and this boot."""
    boot = ""
    with suppress(OSError):
        boot = boot_id()
    return (*host_class(), first_cpu().get("flags", ""), boot)
