"""The files of two commits side by side: each checked out into a folder of its own, for as long as it is used.

A tree's folder is named by its commit, so that what remembers things of a folder by its path finds them again. Who
uses it holds ``.locks/tree-NAME.lock``; what a killed run left is removed by whoever comes next.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host.flock import locked
from ktstr.results.baseline import Side

if TYPE_CHECKING:
    from pygit2 import Repository

TREES = ".trees"
SETTING = "KTSTR_RUNS_ROOT"  # where they are
LOCK_TIMEOUT_S = 30.0


@contextmanager
def tree_of(workdir: Path, side: Side, runs_root: Path, cancel: Cancel) -> Iterator[Path]:
    """A folder that holds the files of one commit of the repository at ``workdir``, gone after the block.

    One that is dirty has the working tree's files as they are now: changed ones, and new ones that are not ignored.
    Raises HostError when somebody else uses it for 30 s, when it cannot be written, or git cannot give a file.
    """
    folder, lock = runs_root / TREES / side.label, runs_root / ".locks" / f"tree-{side.label}.lock"
    with locked(lock, timeout_s=LOCK_TIMEOUT_S, cancel=cancel):
        try:
            _sweep(runs_root)
            _check_out(workdir, side, folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def tracked_files(workdir: Path, side: Side) -> frozenset[str]:
    """The files of a commit, by their paths in the repository."""
    import pygit2

    repository = pygit2.Repository(str(workdir))
    index = pygit2.Index()
    index.read_tree(repository[side.commit].peel(pygit2.Tree))
    return frozenset(entry.path for entry in index)


def _check_out(workdir: Path, side: Side, folder: Path) -> None:
    import pygit2
    from pygit2.enums import CheckoutStrategy

    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        repository = pygit2.Repository(str(workdir))
        strategy = CheckoutStrategy.FORCE | CheckoutStrategy.DONT_UPDATE_INDEX
        tree = repository[side.commit].peel(pygit2.Tree)
        repository.checkout_tree(tree, directory=str(folder), strategy=strategy)  # type: ignore[no-untyped-call]
        if side.dirty:
            _bring_up(repository, workdir, folder)
    except OSError as err:
        raise full_or_denied(err, folder, SETTING) from err
    except (pygit2.GitError, KeyError, ValueError) as err:
        raise HostError(f"{folder}: commit {side.label} cannot be checked out: {err}", fix="git fsck") from err


def _bring_up(repository: Repository, workdir: Path, folder: Path) -> None:
    """What the working tree has beyond its commit."""
    for name in repository.status(untracked_files="all"):
        source, target = workdir / name, folder / name
        if target.is_dir() and not target.is_symlink():
            continue
        target.unlink(missing_ok=True)
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _sweep(runs_root: Path) -> None:
    """Remove trees that nobody uses."""
    for path in (runs_root / TREES).glob("*"):
        try:
            with locked(runs_root / ".locks" / f"tree-{path.name}.lock", timeout_s=0.0):
                shutil.rmtree(path, ignore_errors=True)
        except HostError:
            continue  # somebody's, or our own other one
