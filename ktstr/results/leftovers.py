"""What killed runs leave on a host, of its cache, and of a project: in its target folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ktstr.config.project import Project
from ktstr.host import leftovers
from ktstr.host.cache import cache_root
from ktstr.host.leftovers import SENT, Leftover
from ktstr.host.reserve import lock_dir
from ktstr.host.scratch import PREFIX
from ktstr.results.store import LEFT, RUN
from ktstr.results.trees import TREES


def left_of_host(environ: Mapping[str, str]) -> Iterator[Leftover]:
    """Whatever may have been left on this host and in its cache, in the order in which it is to be removed: locks
    last, which guard the rest. All that a worker of a cluster can leave is among it."""
    yield from _beside_locks(cache_root(environ))
    yield from _locks_of_host(environ)


def left_of(project: Project, environ: Mapping[str, str]) -> Iterator[Leftover]:
    """Whatever may have been left on this host, in its cache and of a project, in that order, but locks last."""
    yield from _beside_locks(cache_root(environ))
    yield from leftovers.leased_folders(project.cells, RUN)
    yield from (leftovers.nobodys(path) for path in sorted(project.cells.glob(f"{LEFT}*")))
    for path in sorted((project.runs_root / TREES).glob("*")):
        yield leftovers.guarded(path, project.locks / f"tree-{path.name}.lock")
    yield from _left_in(project.unstored)
    yield from leftovers.staged_files(_written(project))
    for folder in (project.locks, project.unstored / ".locks"):
        yield from leftovers.lock_files(folder)
    yield from _locks_of_host(environ)


def _beside_locks(cache: Path) -> Iterator[Leftover]:
    yield from leftovers.processes()
    yield from leftovers.leased_folders(Path(tempfile.gettempdir()), PREFIX)
    for root in (cache, cache / SENT):
        yield from _left_in(root)
    yield from leftovers.unfetched_results(cache)
    yield from leftovers.unused_entries(cache)
    yield from leftovers.scratch_of_dask(cache)


def _left_in(cache: Path) -> Iterator[Leftover]:
    """All in a cache but its locks. The folders that a worker runs cells in are among those of a class."""
    folders = tuple(leftovers.cache_folders(cache))
    for folder in folders:
        yield from leftovers.leased_folders(folder, ".")
    yield from leftovers.unfinished_entries(cache)
    yield from leftovers.staged_files(folders)
    yield from leftovers.abandoned_pieces(cache)


def _locks_of_host(environ: Mapping[str, str]) -> Iterator[Leftover]:
    for root in (cache_root(environ), cache_root(environ) / SENT):
        yield from leftovers.lock_files(root / ".locks")
    yield from leftovers.lock_files(lock_dir(environ), PREFIX)


def _written(project: Project) -> Iterator[Path]:
    """The folders of a project in which files are written in one step."""
    yield project.root
    yield from (project.runs_root, project.state, project.cells)
    for above in (project.cells, project.runs_root):
        for folder in _below(above):
            yield folder
            yield from _below(folder)


def _below(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
