"""Commits as git calls them, turned into what sidecars record."""

from __future__ import annotations

from pathlib import Path

import pygit2
import pytest

from ktstr.stats.compare.revisions import Resolved, Revisions

ME = pygit2.Signature("A", "a@example.org", 0, 0)


@pytest.fixture
def commits(tmp_path: Path) -> list[str]:
    """Three commits on ``main``, the oldest first; the second is tagged, twice, and a branch."""
    repository = pygit2.init_repository(str(tmp_path), initial_head="main")
    made: list[str] = []
    for content in ("1", "2", "3"):
        (tmp_path / "file").write_text(content)
        repository.index.add("file")
        repository.index.write()
        parents = [pygit2.Oid(hex=made[-1])] if made else []
        tree = repository.index.write_tree()
        made.append(str(repository.create_commit("HEAD", ME, ME, content, tree, parents)))
    repository.create_reference("refs/tags/light", pygit2.Oid(hex=made[1]))
    repository.create_tag("v1", pygit2.Oid(hex=made[1]), pygit2.enums.ObjectType.COMMIT, ME, "a tag")
    repository.create_reference("refs/heads/other", pygit2.Oid(hex=made[1]))
    return made


def resolve(folder: Path | None, *values: str, digits: int = 7) -> Resolved:
    return Revisions("project_commit", folder, digits).resolve(values)


def test_names_of_git_are_their_commits_in_seven_digits(tmp_path: Path, commits: list[str]) -> None:
    short = [commit[:7] for commit in commits]
    for name, at in {
        "HEAD": 2,
        "main": 2,
        "HEAD~1": 1,
        "HEAD~2": 0,
        "HEAD^": 1,
        "light": 1,
        "v1": 1,
        "other": 1,
    }.items():
        assert resolve(tmp_path, name) == Resolved((short[at],), ())
    assert resolve(tmp_path, "v1", digits=12).values == (commits[1][:12],)


def test_a_range_is_what_its_end_has_and_its_beginning_has_not(tmp_path: Path, commits: list[str]) -> None:
    short = [commit[:7] for commit in commits]
    assert resolve(tmp_path, "HEAD~2..HEAD").values == (short[2], short[1])
    assert resolve(tmp_path, "v1..main").values == (short[2],)


def test_head_is_dirty_when_tracked_files_differ_and_no_other_commit_is(tmp_path: Path, commits: list[str]) -> None:
    (tmp_path / "untracked").write_text("")
    assert resolve(tmp_path, "HEAD").values == (commits[2][:7],)
    (tmp_path / "file").write_text("changed")
    assert resolve(tmp_path, "HEAD", "HEAD~1").values == (commits[2][:7] + "-dirty", commits[1][:7])
    assert resolve(tmp_path, "HEAD~2..HEAD").values == (commits[2][:7] + "-dirty", commits[1][:7])


def test_hex_digits_are_themselves_without_a_word(tmp_path: Path, commits: list[str]) -> None:
    literal = ("deadbee", "deadbee-dirty", commits[0], "0" * 40)
    assert resolve(tmp_path, *literal) == Resolved(literal, ())
    assert resolve(None, *literal) == Resolved(literal, ())


@pytest.mark.parametrize("text", ["nonsense", "HEAD~99", "deadbe", "HEAD..nonsense", "main..main", "HEAD..HEAD~1", "..",
                                  "a b", "HEAD^{tree}", "DEADBEE", "^", "@{", "refs/heads/../x"])  # fmt: skip
def test_what_names_no_commit_stays_as_it_is_with_a_warning(tmp_path: Path, commits: list[str], text: str) -> None:
    found = resolve(tmp_path, text)
    assert found.values == (text,)
    (warning,) = found.warnings
    assert f"project_commit={text}: found no such commit in {tmp_path}" in warning


def test_outside_a_repository_and_before_its_first_commit_nothing_is_known(tmp_path: Path) -> None:
    assert resolve(None, "HEAD").warnings
    assert resolve(tmp_path, "HEAD").values == ("HEAD",)
    pygit2.init_repository(str(tmp_path))
    assert resolve(tmp_path, "HEAD") == Resolved(("HEAD",), resolve(tmp_path, "HEAD").warnings)
    assert resolve(tmp_path, "HEAD").warnings


def test_values_that_are_the_same_commit_are_one(tmp_path: Path, commits: list[str]) -> None:
    assert resolve(tmp_path, "HEAD", "main", commits[2][:7]).values == (commits[2][:7],)
