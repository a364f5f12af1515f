from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.results.baseline import Side, Sides, Wanted, changed_paths, resolve_sides
from ktstr.results.trees import TREES, tree_of
from tests.repositories import git

MAIN = Wanted(None, None, "main")


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """main: one, two; topic, checked out: one, two, three."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "a", "one")
    commit(folder, "a", "two")
    git(folder, "checkout", "-qb", "topic")
    commit(folder, "b", "three")
    return folder


def test_what_names_the_baseline_first_wins(repository: Path) -> None:
    one, two, head = (git(repository, "rev-parse", rev) for rev in ("HEAD~2", "HEAD~1", "HEAD"))
    git(repository, "update-ref", "refs/remotes/origin/release", one)
    ci = {"GITHUB_BASE_REF": "release"}
    cases = [
        (Wanted("HEAD~2", "main", "main"), ci, one, "base=HEAD~2"),
        (Wanted(None, "main", "main"), ci, two, "base_ref=main"),
        (MAIN, ci, one, "GITHUB_BASE_REF=release"),
        (MAIN, {"GITHUB_BASE_REF": ""}, two, "default_branch=main"),
    ]
    for wanted, environ, commit_id, how in cases:
        sides = resolve_sides(repository, wanted, environ)
        assert (sides.base.commit, sides.base.label) == (commit_id, commit_id[:7])
        assert (sides.head.commit, sides.head.label) == (head, head[:7])
        assert how in sides.how


def test_head_may_be_held_against_itself_only_while_something_is_not_committed(repository: Path) -> None:
    with pytest.raises(InputError, match="resolves to HEAD"):
        resolve_sides(repository, Wanted("HEAD", None, "main"), {})
    (repository / "b").write_text("changed")
    sides = resolve_sides(repository, Wanted("HEAD", None, "main"), {})
    assert sides.head.label == f"{sides.base.label}-dirty"
    assert changed_paths(sides) == {"b"}


@pytest.mark.parametrize("base", ["nowhere", "HEAD^{tree}", "HEAD~99", "", "main..topic"])
def test_a_base_that_is_no_commit_is_an_error_that_names_it(repository: Path, base: str) -> None:
    with pytest.raises(InputError, match="found no such commit"):
        resolve_sides(repository, Wanted(base, None, "main"), {})


def test_a_branch_without_a_common_ancestor_is_an_error(repository: Path) -> None:
    git(repository, "checkout", "-q", "--orphan", "other")
    commit(repository, "c", "alone")
    with pytest.raises(InputError, match="no common ancestor"):
        resolve_sides(repository, MAIN, {})


def test_a_shallow_clone_says_how_to_get_what_it_lacks(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "shallow")
    with pytest.raises(InputError, match="a shallow clone") as caught:
        resolve_sides(tmp_path / "shallow", Wanted("HEAD~1", None, "main"), {})
    assert caught.value.fix == "git fetch --unshallow"


def test_without_a_repository_or_a_commit_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no git repository"):
        resolve_sides(tmp_path, MAIN, {})
    git(tmp_path, "init", "-q")
    with pytest.raises(InputError, match="HEAD is no commit"):
        resolve_sides(tmp_path, MAIN, {})


def _sides(repository: Path) -> Sides:
    return resolve_sides(repository, MAIN, {})


def test_a_tree_holds_a_commits_files_and_goes_after_use(repository: Path, tmp_path: Path) -> None:
    sides = _sides(repository)
    before = git(repository, "status", "--porcelain")
    with tree_of(repository, sides.base, tmp_path / "runs", Cancel()) as tree:
        assert (tree / "a").read_text() == "two"
        assert not (tree / "b").exists()
        assert tree == tmp_path / "runs" / TREES / sides.base.label
    assert not tree.exists()
    assert git(repository, "status", "--porcelain") == before


def test_a_dirty_tree_has_what_was_changed_added_and_removed_but_nothing_ignored(
    repository: Path, tmp_path: Path
) -> None:
    (repository / ".gitignore").write_text("junk\n")
    (repository / "junk").write_text("ignored")
    (repository / "a").unlink()
    (repository / "b").write_text("changed")
    (repository / "new").mkdir()
    (repository / "new/file").write_text("untracked")
    (repository / "link").symlink_to("b")
    with tree_of(repository, _sides(repository).head, tmp_path / "runs", Cancel()) as tree:
        found = {str(path.relative_to(tree)) for path in tree.rglob("*")}
        assert found == {".gitignore", "b", "new", "new/file", "link"}
        assert (tree / "b").read_text() == "changed"
        assert (tree / "link").is_symlink()


def test_a_tree_that_a_killed_run_left_is_replaced_and_one_in_use_is_not(repository: Path, tmp_path: Path) -> None:
    sides, runs = _sides(repository), tmp_path / "runs"
    left = runs / TREES / sides.base.label
    left.mkdir(parents=True)
    (left / "stray").write_text("from a run that was killed")
    (runs / TREES / "abandoned").mkdir()
    with tree_of(repository, sides.base, runs, Cancel()) as tree:
        assert not (tree / "stray").exists()
        assert not (runs / TREES / "abandoned").exists()
        with tree_of(repository, sides.head, runs, Cancel()) as other:
            assert (tree / "a").exists()
            assert (other / "b").exists()


def test_a_commit_that_is_damaged_is_named(repository: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match="commit 1111111 cannot be checked out"),
        tree_of(repository, Side("1" * 40, "1111111"), tmp_path / "runs", Cancel()),
    ):
        raise AssertionError("no tree")
