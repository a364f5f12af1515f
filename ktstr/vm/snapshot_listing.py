"""Which parked machines the cache has, by what their metadata says. Nothing else of them is read or verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktstr.files import disk_bytes
from ktstr.host.cache import Cache
from ktstr.host.cache_classes import finished
from ktstr.vm.snapshot_files import Metadata, read_metadata
from ktstr.vm.snapshot_ram import Damaged
from ktstr.vm.snapshot_store import KIND


@dataclass(frozen=True)
class StoredMachine:
    """One entry. ``metadata`` is None where ``error`` says what is wrong. ``disk_bytes``: as allocated;
    ``last_used``: seconds since 1970."""

    key: str
    metadata: Metadata | None
    disk_bytes: int
    last_used: float
    error: str | None = None


def read_machines(cache: Cache) -> tuple[StoredMachine, ...]:
    """Every one, the last used first. Raises HostError when this host has no descriptors left."""
    found = [machine for path in finished(cache.root / KIND) if (machine := _machine(path)) is not None]
    return tuple(sorted(found, key=lambda machine: (-machine.last_used, machine.key)))


def _machine(folder: Path) -> StoredMachine | None:
    """None for one that was removed meanwhile."""
    try:
        last_used = folder.stat().st_mtime
        metadata = read_metadata(folder)
    except OSError:
        return None
    except Damaged as err:
        return StoredMachine(folder.name, None, disk_bytes(folder), last_used, str(err))
    return None if metadata is None else StoredMachine(folder.name, metadata, disk_bytes(folder), last_used)
