"""Snapshots as files, ours and anybody's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ktstr.errors import HostError, InputError
from ktstr.host import threads_file
from ktstr.host.threads import HostState
from ktstr.host.threads_file import read_state, write_state
from ktstr.record.host import Host
from tests.host.threads import counters, thread

STATE = HostState(
    captured_at_unix_ns=5, host=Host(arch="x86_64"), threads=(thread(comm="ä\udc80"),), cgroup_stats={"/": counters()}
)
PLAIN = HostState(captured_at_unix_ns=5, host=None, threads=(thread(),), cgroup_stats={})


def packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(zstandard.decompress(_bytes(PLAIN)))
    change(document)
    return packed(json.dumps(document).encode())


def _bytes(state: HostState) -> bytes:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        write_state(path, state)
        return path.read_bytes()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.hst.zst"
    path.write_text("what was there")
    write_state(path, PLAIN)
    assert read_state(path) == PLAIN


def test_the_file_is_json_in_zstd_with_the_documented_keys(tmp_path: Path) -> None:
    write_state(tmp_path / "a", STATE)
    found = json.loads(zstandard.decompress((tmp_path / "a").read_bytes()))
    assert list(found) == ["captured_at_unix_ns", "host", "threads", "cgroup_stats"]
    assert found["threads"][0]["comm"] == "ä?"
    assert len(found["threads"][0]) == 38


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is cut off"),
        (b"{}", "is not compressed by zstd"),
        (packed(b"{}")[:-1], "it is cut off"),
        (packed(b"{") + b"x" * 2000, "behind its zstd frame"),
        (packed(b"{"), "is no JSON"),
        (packed(b"[]"), "expected an object"),
        (packed(b'{"a":NaN}'), "NaN is no JSON number"),
        (packed(b"{}"), "host state.captured_at_unix_ns: missing field"),
        (changed(lambda d: d["threads"][0].pop("tid")), r"threads\[0\].tid: missing field"),
        (changed(lambda d: d["threads"][0].update(tid=-1)), r"threads\[0\].tid: found -1, expected"),
        (changed(lambda d: d["threads"][0].update(rchar=2**65)), "expected a 64-bit integer"),
        (changed(lambda d: d["threads"][0].update(rchar="1")), r"threads\[0\].rchar: found '1'"),
        (changed(lambda d: d.update(more=1)), "host state.more: unknown field"),
    ],
)
def test_a_file_that_is_no_snapshot_is_refused_with_its_path_and_the_step(
    tmp_path: Path, data: bytes, why: str
) -> None:
    path = tmp_path / "a.hst.zst"
    path.write_bytes(data)
    with pytest.raises(InputError, match=why) as caught:
        read_state(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: cannot be read"):
        read_state(tmp_path / "none")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_file, "JSON_CAP", 1 << 20)
    path = tmp_path / "a"
    path.write_bytes(packed(b" " * (64 << 20)))
    with pytest.raises(InputError, match="found more than 1048576 bytes in it"):
        read_state(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_file, "FILE_CAP", 10)
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(InputError, match="found more than 10 bytes"):
        read_state(tmp_path / "a")


def test_a_place_that_cannot_be_written_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(HostError, match="folder: cannot be written"):
        write_state(tmp_path / "folder", PLAIN)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
