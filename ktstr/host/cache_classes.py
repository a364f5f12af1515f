"""What the cache holds, by class: each is a folder of its own in it, each of its entries in one of that class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktstr.files import disk_bytes


@dataclass(frozen=True)
class CacheClass:
    """``entries``: finished ones. ``disk_bytes``: as allocated, with what is unfinished or was left behind."""

    name: str
    entries: int
    disk_bytes: int


def read_classes(root: Path) -> tuple[CacheClass, ...]:
    """Every class by name. A missing cache is an empty one; what may not be entered counts as empty."""
    return tuple(
        CacheClass(path.name, len(finished(path)), disk_bytes(path)) for path in finished(root) if path.is_dir()
    )


def finished(folder: Path) -> tuple[Path, ...]:
    """What is in a folder of the cache by name; what begins with a dot was never finished, or is of the locks."""
    try:
        return tuple(sorted(path for path in folder.iterdir() if not path.name.startswith(".")))
    except OSError:
        return ()
