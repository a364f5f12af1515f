"""``run=`` names a run directory, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.stats.named_run import find_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("7.2-abc1234", "7.2-def5678", "gauntlet/job-1", ".7.2-abc1235"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs" / "7.2-abc1233").write_text("a file, not a run")
    return tmp_path / "runs"


@pytest.mark.parametrize("name", ["7.2-abc1234", "gauntlet/job-1"])
def test_a_bare_name_and_one_of_several_parts_are_found(root: Path, name: str) -> None:
    assert find_run(root, name) == root / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../outside", "7.2-abc1234/..", "./7.2-abc1234", "a//b", "/", "/etc", "gauntlet/", "a\0b"]
)
def test_a_name_that_leads_elsewhere_is_refused(root: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected the name of a run directory"):
        find_run(root, name)


def test_a_missing_run_is_answered_with_the_nearest_one(root: Path) -> None:
    with pytest.raises(InputError, match=r"Did you mean `7\.2-abc1234`\?") as caught:
        find_run(root, "7.2-abc1244")
    assert "stats_list" in (caught.value.fix or "")


def test_files_and_dot_folders_are_no_suggestions(root: Path) -> None:
    for query in ("7.2-abc1233", ".7.2-abc12355"):
        with pytest.raises(InputError) as caught:
            find_run(root, query)
        assert "`7.2-abc1233`" not in str(caught.value)
        assert "`.7.2-abc1235`" not in str(caught.value)


@pytest.mark.parametrize(("query", "near"), [("xyz-abc1234", True), ("wxyz-bc1234", False)])
def test_the_threshold_is_three_edits_for_a_short_name(root: Path, query: str, near: bool) -> None:
    """11 letters allow max(3, 11 // 3) = 3: the first differs in 3, the second in 5."""
    with pytest.raises(InputError) as caught:
        find_run(root, query)
    assert ("Did you mean `7.2-abc1234`?" in str(caught.value)) is near


def test_no_root_means_no_suggestion(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no run directory") as caught:
        find_run(tmp_path / "none", "x")
    assert "Did you mean" not in str(caught.value)


def test_a_name_that_no_file_can_have_is_the_users_error(root: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        find_run(root, "x" * 300)
