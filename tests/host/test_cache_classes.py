from __future__ import annotations

from pathlib import Path

from ktstr.files import disk_bytes
from ktstr.host.cache_classes import CacheClass, read_classes


def test_classes_are_folders_and_entries_what_was_finished(tmp_path: Path) -> None:
    for name in ("tools/a", "tools/b", "tools/.tmp-c-1", "apt/stable", "images", ".locks/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tools/.tmp-c-1/file").write_bytes(b"x" * 9000)
    (tmp_path / "kvm-probe.json").write_text("{}")
    assert read_classes(tmp_path) == (
        CacheClass("apt", 1, disk_bytes(tmp_path / "apt")),
        CacheClass("images", 0, disk_bytes(tmp_path / "images")),
        CacheClass("tools", 2, disk_bytes(tmp_path / "tools")),
    )
    assert disk_bytes(tmp_path / "tools") >= 9000, "what is unfinished takes space"


def test_a_missing_cache_has_no_classes(tmp_path: Path) -> None:
    assert read_classes(tmp_path / "none") == ()
