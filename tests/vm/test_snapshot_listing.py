from __future__ import annotations

import os
from pathlib import Path

from ktstr.host.cache import Cache
from ktstr.vm.snapshot_listing import read_machines
from ktstr.vm.snapshot_store import SnapshotStore
from tests.vm.parked import memory_files, parked


def test_the_last_used_comes_first_and_nothing_is_unpacked(tmp_path: Path) -> None:
    store = SnapshotStore(Cache(tmp_path), keep_open=0)
    for key in "abc":
        with store.holding(key, parked, f"name {key}"):
            pass
    (tmp_path / "machines/c/ram-0.zst").unlink()
    (tmp_path / "machines/b/metadata.json").unlink()
    for key, used in (("a", 7), ("b", 9), ("c", 8)):
        os.utime(tmp_path / "machines" / key, (used, used))
    (tmp_path / "machines/.tmp-d-1").mkdir()
    (tmp_path / "machines/stray").write_text("no folder")
    before = memory_files()
    found = read_machines(Cache(tmp_path))
    assert memory_files() == before
    assert [(machine.key, machine.last_used, machine.error) for machine in found] == [
        ("b", 9, "metadata.json is missing"),
        ("c", 8, None),
        ("a", 7, None),
    ]


def test_a_cache_without_machines_has_none(tmp_path: Path) -> None:
    assert read_machines(Cache(tmp_path)) == ()
