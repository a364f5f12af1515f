"""Removing results: what ktstr made in the runs root, and never what it did not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ktstr.errors import HostError
from ktstr.results.view import EPOCH

OWN = (".cells", ".state", ".locks", ".unstored")


def _ours(root: Path) -> Iterator[Path]:
    yield from (root / name for name in OWN if (root / name).is_dir())
    if root.is_dir():
        yield from sorted(path.parent for path in root.glob(f"*/{EPOCH}"))


def remove_results(root: Path) -> list[Path]:
    """Remove store, state, locks and run directories below ``root``; gives what was removed.

    A run directory is known by the session token ktstr leaves in it. ``root`` itself goes when
    nothing else is in it. Raises HostError when something cannot be removed.
    """
    removed = list(_ours(root))
    try:
        for path in removed:
            shutil.rmtree(path)
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
    except OSError as err:
        raise HostError(f"{err.filename or root}: cannot be removed: {err.strerror}", fix="make it writable") from err
    return removed
