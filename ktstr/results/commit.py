"""The commit of the project a cell was measured for: 7 hex digits, ``-dirty`` unless tracked files are known to be
the commit's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import InputError

if TYPE_CHECKING:
    from pygit2 import Repository

SHORT = 7  # hex digits of a commit's label
_OVERRIDE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def project_commit(start: Path, environ: Mapping[str, str]) -> str | None:
    """The commit of the repository around ``start``; None without one, or before its first commit.

    KTSTR_PROJECT_COMMIT overrides it (InputError when it cannot be part of a directory's name). Untracked
    files and submodules do not make a tree dirty. One whose state cannot be read (a damaged index, a missing
    object, a file this user may not read) is dirty: what cannot be compared with the commit is not called it.
    """
    override = environ.get("KTSTR_PROJECT_COMMIT")
    if override:
        if not _OVERRIDE.fullmatch(override):
            raise InputError(f"KTSTR_PROJECT_COMMIT: found {override!r}, expected a commit such as abc1234 or 1.2-rc")
        return override
    return _probe(start) if _in_a_repository(start) else None


def _in_a_repository(start: Path) -> bool:
    """Whether git has anything here or above: a look that spares others the import of pygit2."""
    folders = (start, *start.absolute().parents)
    return any((folder / ".git").exists() or (folder / "HEAD").is_file() for folder in folders)


def _probe(start: Path) -> str | None:
    import pygit2

    try:
        found = pygit2.discover_repository(str(start))
        if found is None:
            return None
        repository = pygit2.Repository(found)
        head = str(repository.head.peel(pygit2.Commit).id)[:SHORT]
    except (pygit2.GitError, KeyError, ValueError):
        return None
    return head + ("-dirty" if is_dirty(repository) else "")


def is_dirty(repository: Repository) -> bool:
    """Whether HEAD and index, or index and tracked files, differ or cannot be compared."""
    import pygit2
    from pygit2.enums import DiffOption

    if repository.is_bare:
        return False
    try:
        staged = repository.diff("HEAD", cached=True, flags=DiffOption.IGNORE_SUBMODULES)
        tree = repository.diff(flags=DiffOption.IGNORE_SUBMODULES)
        return any(len(diff) for diff in (staged, tree) if isinstance(diff, pygit2.Diff))
    except (pygit2.GitError, KeyError, ValueError, TypeError, OSError):  # a TypeError is pygit2's for a missing tree
        return True
