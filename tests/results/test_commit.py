from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.results.commit import project_commit
from tests.repositories import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    (root / "a").write_text("1\n")
    git(root, "add", "a")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_a_clean_tree_is_seven_digits_of_head_from_a_subdirectory_too(repository: Path) -> None:
    (repository / "sub").mkdir()
    head = git(repository, "rev-parse", "HEAD")[:7]
    assert project_commit(repository, {}) == head
    assert project_commit(repository / "sub", {}) == head


def test_tracked_changes_are_dirty_staged_or_not(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")[:7]
    (repository / "a").write_text("2\n")
    assert project_commit(repository, {}) == f"{head}-dirty"
    git(repository, "add", "a")
    assert project_commit(repository, {}) == f"{head}-dirty"
    git(repository, "commit", "-q", "-m", "two")
    assert project_commit(repository, {}) == git(repository, "rev-parse", "HEAD")[:7]
    (repository / "a").unlink()
    assert str(project_commit(repository, {})).endswith("-dirty")


def test_untracked_files_are_not_dirty(repository: Path) -> None:
    (repository / "new").write_text("x")
    assert project_commit(repository, {}) == git(repository, "rev-parse", "HEAD")[:7]


def test_a_changed_submodule_is_not_dirty(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", str(repository), str(other)], check=True)
    git(repository, "submodule", "add", "-q", str(other), "sub")
    git(repository, "commit", "-q", "-m", "sub")
    (repository / "sub" / "a").write_text("changed\n")
    git(repository / "sub", "commit", "-q", "-am", "moved on")
    assert project_commit(repository, {}) == git(repository, "rev-parse", "HEAD")[:7]


def test_no_repository_and_no_commit_yet_are_none(tmp_path: Path) -> None:
    assert project_commit(tmp_path, {}) is None
    git(tmp_path, "init", "-q")
    assert project_commit(tmp_path, {}) is None


def test_the_environment_overrides_and_is_checked(tmp_path: Path) -> None:
    assert project_commit(tmp_path, {"KTSTR_PROJECT_COMMIT": "deadbee-dirty"}) == "deadbee-dirty"
    with pytest.raises(InputError, match="KTSTR_PROJECT_COMMIT"):
        project_commit(tmp_path, {"KTSTR_PROJECT_COMMIT": "../x"})


def object_file(repository: Path, name: str) -> Path:
    digits = git(repository, "rev-parse", name)
    return repository / ".git/objects" / digits[:2] / digits[2:]


def test_a_state_that_cannot_be_read_is_not_called_the_commit(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")[:7]
    index = (repository / ".git/index").read_bytes()
    (repository / ".git/index").write_bytes(b"DIRC and no more")
    assert project_commit(repository, {}) == f"{head}-dirty"
    (repository / ".git/index").write_bytes(index)
    assert project_commit(repository, {}) == head
    object_file(repository, "HEAD^{tree}").unlink()
    assert project_commit(repository, {}) == f"{head}-dirty"


def test_a_folder_of_the_commit_that_is_missing_from_git_is_not_called_unchanged(repository: Path) -> None:
    (repository / "sub").mkdir()
    (repository / "sub/b").write_text("1\n")
    git(repository, "add", "sub")
    git(repository, "commit", "-q", "-m", "two")
    object_file(repository, "HEAD:sub").unlink()
    assert project_commit(repository, {}) == git(repository, "rev-parse", "HEAD")[:7] + "-dirty"
