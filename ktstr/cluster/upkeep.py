"""What a worker does for ``doit locks`` and ``doit cleanup``: the same as on this host, for its host and its cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ktstr.host import locks
from ktstr.host.cache import cache_root
from ktstr.host.cpu_topology import read_topology
from ktstr.host.leftovers import Cleaned, clean
from ktstr.host.locks import LockRow
from ktstr.host.reserve import lock_dir
from ktstr.results.leftovers import left_of_host


@dataclass(frozen=True)
class Locks:
    """The locks of a host, as ``locks.survey`` gives them. Raises ValueError for what that does not give."""

    sections: dict[str, list[LockRow]]

    def __post_init__(self) -> None:
        locks.check(self.sections)


def locks_here(environ: Mapping[str, str]) -> Locks:
    """Every lock of this host and its cache; of run directories, which are the asker's, there are none."""
    cache = cache_root(environ)
    return Locks(locks.survey(read_topology(), lock_dir(environ), cache, cache / "cluster"))


def clean_here(environ: Mapping[str, str], *, dry_run: bool) -> Cleaned:
    """Remove what was left, or say what would go."""
    return clean(left_of_host(environ), dry_run=dry_run)
