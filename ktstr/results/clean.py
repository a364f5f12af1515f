"""Removing results: what ktstr made in the runs root, and never what it did not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ktstr.files import full_or_denied
from ktstr.results.names import SHARDS
from ktstr.results.trees import TREES
from ktstr.results.view import EPOCH

OWN = (".cells", ".state", ".locks", ".unstored", SHARDS, TREES)


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
        raise full_or_denied(err, Path(err.filename or root), None, verb="removed") from err
    return removed
