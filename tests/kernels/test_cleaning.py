"""What kernel_clean takes away, and that it takes nothing from under a running machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ktstr.host.cache import Cache
from ktstr.kernels import cleaning
from ktstr.kernels.cache import KIND
from ktstr.kernels.listing import leftovers, read_cache
from tests.kernels.entries import add_corrupt, add_entry


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path)
    for month in (1, 2, 3):
        add_entry(cache, f"k{month}", f"2026-0{month}-01T00:00:00Z")
    add_corrupt(cache, "bad", "")
    (tmp_path / KIND / ".tmp-k3-99").mkdir()
    (tmp_path / KIND / ".tmp-k3-99/vmlinux").write_text("half")
    (tmp_path / "builds/k9").mkdir(parents=True)
    (tmp_path / "sources/k9-src").mkdir(parents=True)
    return cache


def chosen(cache: Cache, keep: int | None = None, corrupt_only: bool = False) -> tuple[cleaning.Victim, ...]:
    return cleaning.choose(read_cache(cache), leftovers(cache), keep=keep, corrupt_only=corrupt_only)


def names(victims: tuple[cleaning.Victim, ...]) -> set[str]:
    return {victim.path.name for victim in victims}


def test_corrupt_only_takes_what_is_damaged_or_left_behind_and_nothing_valid(cache: Cache) -> None:
    assert names(chosen(cache, corrupt_only=True)) == {"bad", ".tmp-k3-99"}


def test_keep_keeps_the_newest_valid_ones(cache: Cache) -> None:
    assert names(chosen(cache, keep=2)) == {"bad", ".tmp-k3-99", "k1", "k9", "k9-src"}
    assert {"k1", "k2", "k3"} <= names(chosen(cache, keep=0))
    assert names(chosen(cache)) == names(chosen(cache, keep=0))
    assert not {"k1", "k2", "k3"} & names(chosen(cache, keep=9))


def test_what_was_chosen_is_removed_and_the_rest_is_as_it_was(cache: Cache) -> None:
    cleaned = cleaning.perform(cache, chosen(cache, keep=1))
    assert names(cleaned.removed) == {"bad", ".tmp-k3-99", "k1", "k2", "k9", "k9-src"}
    assert (cleaned.kept, cleaned.failed) == ((), ())
    assert [row.key for row in read_cache(cache)] == ["k3"]
    assert leftovers(cache) == ()
    assert "removed 6 of 6" in cleaning.to_text(cleaned)


def test_one_in_use_is_kept_and_its_user_named(cache: Cache) -> None:
    with cache.reading(KIND, "k1"):
        cleaned = cleaning.perform(cache, chosen(cache, keep=0))
    assert [(victim.path.name, f"pid={os.getpid()}" in who) for victim, who in cleaned.kept] == [("k1", True)]
    assert [row.key for row in read_cache(cache)] == ["k1"]
    assert "in use by pid=" in cleaning.to_text(cleaned)


def test_one_that_vanished_meanwhile_counts_as_removed(cache: Cache) -> None:
    victims = chosen(cache, corrupt_only=True)
    (cache.root / KIND / "bad/metadata.json").unlink()
    (cache.root / KIND / "bad").rmdir()
    cleaned = cleaning.perform(cache, victims)
    assert names(cleaned.removed) == {"bad", ".tmp-k3-99"}


def test_an_error_with_one_does_not_stop_the_others(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cleaning._remove

    def broken(path: Path) -> None:
        if path.name == "k2":
            raise PermissionError(1, "Operation not permitted", str(path))
        whole(path)

    monkeypatch.setattr(cleaning, "_remove", broken)
    cleaned = cleaning.perform(cache, chosen(cache, keep=0))
    assert [(victim.path.name, why) for victim, why in cleaned.failed] == [("k2", "Operation not permitted")]
    assert [row.key for row in read_cache(cache)] == ["k2"]
    told = json.loads(cleaning.to_json(cleaned))
    assert [item["error"] for item in told["failed"]] == ["Operation not permitted"]


def test_a_folder_whose_name_is_no_key_can_be_removed_too(cache: Cache) -> None:
    (cache.root / KIND / "not a key").mkdir()
    assert "not a key" in names(cleaning.perform(cache, chosen(cache, corrupt_only=True)).removed)
