"""What git calls a commit (``HEAD~1``, a tag, a branch, ``A..B``), as sidecars record it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.results.commit import project_commit
from ktstr.stats.compare.dims import DIRTY

if TYPE_CHECKING:
    from pygit2 import Repository

_LITERAL = re.compile(r"[0-9a-f]{7,40}(-dirty)?", re.ASCII)


@dataclass(frozen=True)
class Resolved:
    """``values``: as they are recorded; ``warnings``: a sentence for each that git does not know."""

    values: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Revisions:
    """The repository around ``folder``, None for none, whose commits are recorded with ``digits`` hex digits.

    ``variable``: what the values were given as.
    """

    variable: str
    folder: Path | None
    digits: int = 7

    def resolve(self, values: Iterable[str]) -> Resolved:
        """Hex digits are themselves; what git knows is its commits, ``-dirty`` behind HEAD's when tracked files
        differ; anything else stays as it is, with a warning."""
        found: list[str] = []
        warnings: list[str] = []
        for value in values:
            commits = (value,) if _LITERAL.fullmatch(value) else self._commits(value)
            if not commits:
                warnings.append(
                    f"{self.variable}={value}: found no such commit in {self.folder or 'any repository'}; "
                    "it is taken literally"
                )
            found.extend(commits or (value,))
        return Resolved(tuple(dict.fromkeys(found)), tuple(warnings))

    def _commits(self, revision: str) -> tuple[str, ...]:
        """The commits that a revision names, none when it names none."""
        import pygit2

        if self.folder is None:
            return ()
        try:
            place = pygit2.discover_repository(str(self.folder))
            if place is None:
                return ()
            repository = pygit2.Repository(place)
            ids = [commit[: self.digits] for commit in _named(repository, revision)]
        except (pygit2.GitError, KeyError, ValueError):  # the last two are pygit2's for names and objects it has not
            return ()
        dirty = project_commit(self.folder, {}) if ids else None
        if dirty is None or not dirty.endswith(DIRTY):
            return tuple(ids)
        head = dirty.removesuffix(DIRTY)
        return tuple(one + DIRTY if one.startswith(head) else one for one in ids)


def _named(repository: Repository, revision: str) -> list[str]:
    """Ids of the commits: one, or those that ``A..B`` reaches from B and not from A, newest first."""
    import pygit2
    from pygit2.enums import RevSpecFlag

    spec = repository.revparse(revision)
    if not spec.flags & RevSpecFlag.RANGE:
        return [str(spec.from_object.peel(pygit2.Commit).id)]
    since = spec.from_object.peel(pygit2.Commit).id
    walk = repository.walk(spec.to_object.peel(pygit2.Commit).id)
    if spec.flags & RevSpecFlag.MERGE_BASE:
        base = repository.merge_base(since, spec.to_object.peel(pygit2.Commit).id)
        since = base if base is not None else since
    walk.hide(since)
    return [str(commit.id) for commit in walk]
