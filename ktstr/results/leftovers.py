"""What killed runs leave of a project and of what its runs share: in its target folder, the cache, and on the host."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ktstr.config.project import Project
from ktstr.host import leftovers
from ktstr.host.cache import cache_root
from ktstr.host.leftovers import Leftover
from ktstr.host.reserve import lock_dir
from ktstr.host.scratch import PREFIX
from ktstr.results.store import LEFT, RUN
from ktstr.results.trees import TREES


def left_of(project: Project, environ: Mapping[str, str]) -> Iterator[Leftover]:
    """Whatever may have been left, in the order in which it is to be removed: locks last, which guard the rest."""
    cache, runs = cache_root(environ), project.runs_root
    yield from leftovers.processes()
    yield from leftovers.leased_folders(project.cells, RUN)
    yield from (leftovers.nobodys(path) for path in sorted(project.cells.glob(f"{LEFT}*")))
    for path in sorted((runs / TREES).glob("*")):
        yield leftovers.guarded(path, project.locks / f"tree-{path.name}.lock")
    yield from leftovers.leased_folders(Path(tempfile.gettempdir()), PREFIX)
    for root in (cache, project.unstored):
        folders = tuple(leftovers.cache_folders(root))
        for folder in folders:
            yield from leftovers.leased_folders(folder, ".")
        yield from leftovers.unfinished_entries(root)
        yield from leftovers.staged_files(folders)
    yield from leftovers.abandoned_pieces(cache)
    yield from leftovers.staged_files(_written(project))
    for folder in (project.locks, cache / ".locks", project.unstored / ".locks"):
        yield from leftovers.lock_files(folder)
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
