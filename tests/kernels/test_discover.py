"""Which kernel is used when nobody names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.host.cache import Cache
from ktstr.kernels.discover import discover
from tests.kernels.entries import add_corrupt, add_entry, kconfig


def tree(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "Makefile").write_text("")
    (path / "Kconfig").write_text("")
    return path


@pytest.fixture
def stand(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_the_newest_cached_one_with_todays_configuration_wins(tmp_path: Path, stand: Path) -> None:
    cache = Cache(tmp_path / "cache")
    add_entry(cache, "older", "2026-01-01T00:00:00Z", kconfig=kconfig("minimal"))
    add_entry(cache, "newer", "2026-02-01T00:00:00Z", kconfig=kconfig("minimal"))
    add_entry(cache, "stale", "2026-03-01T00:00:00Z", kconfig=kconfig("minimal", digest="0" * 64))
    add_entry(cache, "prebuilt", "2026-04-01T00:00:00Z")
    add_corrupt(cache, "corrupt", "")
    tree(stand / "linux")
    found = discover(cache, stand)
    assert (found.spec, "newest in the cache" in found.why) == ("newer", True)


def test_a_tree_here_comes_before_one_beside_and_both_before_the_distribution(tmp_path: Path, stand: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert discover(cache, stand).spec == "deb:forky/cloud-amd64"
    beside = tree(tmp_path / "linux")
    assert discover(cache, stand).spec == str(beside)
    here = tree(stand / "linux")
    found = discover(cache, stand)
    assert (found.spec, "./linux" in found.why) == (str(here), True)


def test_a_folder_called_linux_that_is_no_kernel_tree_is_passed_over(tmp_path: Path, stand: Path) -> None:
    (stand / "linux").mkdir()
    assert discover(Cache(tmp_path / "cache"), stand).spec == "deb:forky/cloud-amd64"
