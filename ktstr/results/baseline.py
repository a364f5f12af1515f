"""Which two commits a comparison of commits is about: HEAD as it stands, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import InputError
from ktstr.results.commit import SHORT, is_dirty

if TYPE_CHECKING:
    from pygit2 import Commit, Repository

CI_BASE = "GITHUB_BASE_REF"  # the branch that a pull request is to be merged into


@dataclass(frozen=True)
class Wanted:
    """How the baseline is named: a commit, or a branch whose merge-base with HEAD it is. ``default_branch`` where
    neither is given."""

    base: str | None
    base_ref: str | None
    default_branch: str


@dataclass(frozen=True)
class Side:
    """One commit: its full id, and its label of 7 hex digits with ``-dirty`` where tracked files are not the
    commit's."""

    commit: str
    label: str

    @property
    def dirty(self) -> bool:
        return self.label.endswith("-dirty")


@dataclass(frozen=True)
class Sides:
    """The repository's folder, both commits, and how the baseline was chosen."""

    workdir: Path
    base: Side
    head: Side
    how: str


def resolve_sides(start: Path, wanted: Wanted, environ: Mapping[str, str]) -> Sides:
    """HEAD of the repository around ``start`` and its baseline.

    What is not committed yet is part of HEAD: with it, HEAD itself may be the baseline.

    The first that is given counts: ``base``, ``base_ref``, the CI's base branch, ``default_branch``. Raises InputError
    where there is no repository with a commit, what is named is no commit, there is no merge-base, or it is HEAD.
    """
    repository = _repository(start)
    head_commit = _head(repository, start)
    head = _side(head_commit, dirty=is_dirty(repository))
    base_commit, how = _baseline(repository, head_commit, wanted, environ)
    base = _side(base_commit, dirty=False)  # also where it is HEAD: what is not committed is held against that
    if base.label == head.label:
        raise InputError(
            f"the baseline ({how}) resolves to HEAD, {head.label}: nothing to compare",
            fix="base=HEAD~1, or commit the change on a branch of its own",
        )
    return Sides(Path(repository.workdir), base, head, how)


def changed_paths(sides: Sides) -> frozenset[str]:
    """The paths, relative to the repository, in which HEAD's working tree differs from the baseline."""
    import pygit2
    from pygit2.enums import DiffOption

    repository = pygit2.Repository(str(sides.workdir))
    diff = repository[sides.base.commit].peel(pygit2.Tree).diff_to_workdir(DiffOption.INCLUDE_UNTRACKED)
    files = (file for delta in diff.deltas for file in (delta.old_file, delta.new_file))
    return frozenset(file.path for file in files if file.path)


def _repository(start: Path) -> Repository:
    import pygit2

    try:
        found = pygit2.discover_repository(str(start))
        repository = None if found is None else pygit2.Repository(found)
    except (pygit2.GitError, KeyError, ValueError) as err:
        raise InputError(f"{start}: the git repository cannot be read: {err}") from err
    if repository is None or repository.is_bare:
        raise InputError(f"{start}: found no git repository with a working tree, expected one", fix="git init")
    return repository


def _head(repository: Repository, start: Path) -> Commit:
    import pygit2

    try:
        return repository.head.peel(pygit2.Commit)
    except (pygit2.GitError, KeyError, ValueError) as err:
        raise InputError(f"{start}: HEAD is no commit: {err}", fix="commit first") from err


def _baseline(repository: Repository, head: Commit, wanted: Wanted, environ: Mapping[str, str]) -> tuple[Commit, str]:
    if wanted.base is not None:
        return _commit(repository, wanted.base, f"base={wanted.base}"), f"base={wanted.base}"
    if wanted.base_ref is not None:
        return _merge_base(repository, head, wanted.base_ref, f"base_ref={wanted.base_ref}")
    if environ.get(CI_BASE):
        return _merge_base(repository, head, f"origin/{environ[CI_BASE]}", f"{CI_BASE}={environ[CI_BASE]}")
    return _merge_base(repository, head, wanted.default_branch, f"default_branch={wanted.default_branch}")


def _commit(repository: Repository, revision: str, given: str) -> Commit:
    import pygit2

    try:
        return repository.revparse_single(revision).peel(pygit2.Commit)
    except (pygit2.GitError, KeyError, ValueError) as err:
        shallow = repository.is_shallow
        raise InputError(
            f"{given}: found no such commit in {repository.workdir}" + (", a shallow clone" if shallow else ""),
            fix="git fetch --unshallow" if shallow else "base=COMMIT, such as base=HEAD~1",
        ) from err


def _merge_base(repository: Repository, head: Commit, ref: str, given: str) -> tuple[Commit, str]:
    import pygit2

    other = _commit(repository, ref, given)
    try:
        found = repository.merge_base(head.id, other.id)
    except (pygit2.GitError, KeyError, ValueError) as err:
        raise InputError(
            f"{given}: the history up to {ref} cannot be read: {err}", fix="git fetch --unshallow"
        ) from err
    if found is None:
        shallow = repository.is_shallow
        raise InputError(
            f"{given}: HEAD and {ref} have no common ancestor" + (" in this shallow clone" if shallow else ""),
            fix="git fetch --unshallow" if shallow else "base=COMMIT",
        )
    return repository[found].peel(pygit2.Commit), f"merge-base of HEAD and {ref} ({given})"


def _side(commit: Commit, *, dirty: bool) -> Side:
    return Side(str(commit.id), str(commit.id)[:SHORT] + ("-dirty" if dirty else ""))
