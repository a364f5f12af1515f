"""Removing results takes what ktstr made, kernels of edited trees among it, and nothing else."""

from __future__ import annotations

from pathlib import Path

from ktstr.results.clean import remove_results
from ktstr.results.view import EPOCH


def test_everything_of_ktstr_goes_and_the_root_with_it(tmp_path: Path) -> None:
    root = tmp_path / "target/ktstr"
    for name in (".cells/x", ".state", ".locks", ".shards", ".unstored/kernels/local-1", "7.2-abc"):
        (root / name).mkdir(parents=True)
    (root / "7.2-abc" / EPOCH).touch()
    removed = remove_results(root)
    assert sorted(path.name for path in removed) == [".cells", ".locks", ".shards", ".state", ".unstored", "7.2-abc"]
    assert not root.exists()


def test_what_lies_beside_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").touch()
    (tmp_path / ".cells").mkdir()
    assert remove_results(tmp_path) == [tmp_path / ".cells"]
    assert (tmp_path / "notes/mine.txt").exists()
