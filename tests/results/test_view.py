from __future__ import annotations

import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_changes

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.record.sidecar import Sidecar
from ktstr.results import view
from ktstr.results.names import leaf_name
from ktstr.results.sidecar import read_sidecar
from ktstr.results.view import EPOCH, Epoch, epoch, publish, publish_verbatim
from tests.host.waits import cancelled_soon, held_elsewhere
from tests.results.cells import IDENTITY, sidecar

LEAF = "7.2.0-abc1234"


def named(test: str, **changes: object) -> Sidecar:
    return sidecar(replace(IDENTITY, test=test, **changes))  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(p.name.split("-")[0] for p in folder.rglob("*.ktstr.json"))


def session(token: str, began_ns: int | None = None) -> Epoch:
    return Epoch(token, time.time_ns() if began_ns is None else began_ns)


def test_a_sidecar_is_published_under_kernel_commit_accel_and_seed(tmp_path: Path) -> None:
    (path,) = publish(tmp_path, LEAF, [named("steady")], session("a"))
    assert path.parent == tmp_path / LEAF / "icount-s7"
    assert path.name.startswith("steady-") and path.name.endswith(".ktstr.json")
    assert read_sidecar(path).test_name == "steady"
    assert (tmp_path / LEAF / EPOCH).read_text() == "a"


def test_a_later_session_replaces_the_sidecars_of_an_earlier_one_and_touches_nothing_else(tmp_path: Path) -> None:
    publish(tmp_path, LEAF, [named("old"), named("old2", seed=3)], session("a"))
    folder = tmp_path / LEAF
    (folder / "icount-s7" / "x.failure-dump.json").write_text("{}")
    (folder / "notes").mkdir()
    (folder / "notes" / "mine-0.ktstr.json").write_text("{}")
    (folder / "icount-s7" / "half.ktstr.json.tmp.1.2").write_text("")
    (folder / "top-0.ktstr.json").write_text("{}")
    publish(tmp_path, LEAF, [named("new")], session("b"))
    assert names(folder) == ["mine", "new"]
    assert (folder / "icount-s7" / "x.failure-dump.json").exists()
    assert not (folder / "icount-s7" / "half.ktstr.json.tmp.1.2").exists()
    assert (folder / EPOCH).read_text() == "b"


def test_processes_of_one_session_add_to_each_other(tmp_path: Path) -> None:
    publish(tmp_path, LEAF, [named("one")], session("a"))
    publish(tmp_path, LEAF, [named("two")], session("a"))
    assert names(tmp_path / LEAF) == ["one", "two"]


def test_two_concurrent_sessions_both_end_with_their_sidecars(tmp_path: Path) -> None:
    publish(tmp_path, LEAF, [named("stale")], session("earlier"))
    first, second = session("a"), session("b")
    publish(tmp_path, LEAF, [named("one")], first)
    publish(tmp_path, LEAF, [named("two")], second)
    assert names(tmp_path / LEAF) == ["one", "two"]
    publish(tmp_path, LEAF, [named("three")], first)
    assert names(tmp_path / LEAF) == ["one", "three", "two"]


def test_an_unchanged_sidecar_is_not_written_again_but_belongs_to_the_session(tmp_path: Path) -> None:
    (path,) = publish(tmp_path, LEAF, [named("one")], session("a"))
    inode = path.stat().st_ino
    second, concurrent = session("b"), session("c")
    os.utime(path, ns=(1, 1))
    publish(tmp_path, LEAF, [named("one")], Epoch(second.token, 0))
    assert path.stat().st_ino == inode
    publish(tmp_path, LEAF, [named("two")], concurrent)
    assert names(tmp_path / LEAF) == ["one", "two"]


def test_two_presets_of_one_topology_do_not_overwrite_each_other(tmp_path: Path) -> None:
    a = with_changes(named("t", preset="a"), input_digest="a1" * 16)
    b = with_changes(named("t", preset="b"), input_digest="b2" * 16)
    paths = publish(tmp_path, LEAF, [b, a], session("x"))
    assert [p.parent.name for p in paths] == ["icount-s7-b2b2b2b2", "icount-s7"]
    assert [read_sidecar(p).preset for p in paths] == ["b", "a"]
    publish(tmp_path, LEAF, [a], session("y"))
    assert names(tmp_path / LEAF) == ["t"]


def test_the_lock_names_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "LOCK_TIMEOUT_S", 0.1)
    lock = tmp_path / ".locks" / f"{LEAF}.lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HostError, match=f"pid={os.getpid()}"):
            publish(tmp_path, LEAF, [named("one")], session("a"))
    assert not (tmp_path / LEAF).exists()


def test_a_cancel_ends_the_wait_for_the_lock_and_forbids_no_free_one(tmp_path: Path) -> None:
    cancel = Cancel()
    with held_elsewhere(tmp_path / ".locks" / f"{LEAF}.lock"), cancelled_soon(cancel):
        publish(tmp_path, LEAF, [named("one")], session("a"), cancel)
    assert publish(tmp_path, LEAF, [named("one")], session("a"), cancel)[0].is_file()


def test_a_directory_the_user_names_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "other-0.ktstr.json").write_text("{}")
    publish_verbatim(folder, [named("one")])
    assert names(folder) == ["one", "other"]
    assert not (folder / EPOCH).exists() and not (tmp_path / ".locks").exists()


def test_no_half_written_file_is_left_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(HostError, match="the disk is full"):
        publish_verbatim(tmp_path / "d", [named("one")])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_leaf_names_are_one_safe_path_component() -> None:
    assert leaf_name("7.2.0", "abc1234-dirty") == "7.2.0-abc1234-dirty"
    assert leaf_name(None, None) == "unknown-unknown"
    assert leaf_name("../../etc", "a b/c") == "-..-etc-a-b-c"
    assert leaf_name(".hidden", None) == "hidden-unknown"


def test_the_session_token_comes_from_the_environment_or_is_the_processes_own() -> None:
    assert epoch({"KTSTR_RUN_EPOCH": "ci-7"}, 5) == Epoch("ci-7", 5)
    assert epoch({}, 5).token == f"{os.getpid()}-5"
