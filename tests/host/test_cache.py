from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.host.cache import Cache, cache_root, check_key


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"KTSTR_CACHE_DIR": "/k", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/k"),
        ({"KTSTR_CACHE_DIR": "", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/ktstr"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/ktstr"),
        ({"XDG_CACHE_HOME": "rel", "HOME": "/h"}, "/h/.cache/ktstr"),
    ],
)
def test_the_root_is_the_variable_then_xdg_then_home(environ: dict[str, str], root: str) -> None:
    assert cache_root(environ) == Path(root)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "HOME is not set"),
        ({"HOME": ""}, "HOME is empty"),
        ({"HOME": "/"}, "HOME is /, which is no home"),
        ({"HOME": "some/where"}, "HOME is 'some/where', a relative path"),
    ],
)
def test_each_useless_home_has_its_own_words(environ: dict[str, str], words: str) -> None:
    with pytest.raises(HostError, match=words):
        cache_root(environ)


@pytest.mark.parametrize("key", ["", ".", "..", ".tmp-a-1", "a/b", "a\\b", "a\0b", "a..b", "x" * 201])
def test_a_key_that_is_no_plain_folder_name_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="no cache key"):
        check_key(key)


def _store(cache: Cache, text: str) -> None:
    with cache.writing("tools", "k"), cache.storing("tools", "k") as folder:
        (folder / "file").write_text(text)


def test_a_stored_entry_is_there_and_a_later_one_replaces_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    _store(cache, "one")
    _store(cache, "two")
    assert (tmp_path / "tools/k/file").read_text() == "two"
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["k"]


def test_a_failed_store_leaves_the_old_entry_and_nothing_else(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    _store(cache, "one")
    with pytest.raises(RuntimeError), cache.storing("tools", "k") as folder:
        (folder / "file").write_text("half")
        raise RuntimeError
    assert (tmp_path / "tools/k/file").read_text() == "one"
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["k"]


def test_a_full_disk_is_a_host_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="tools/k: the disk is full"), Cache(tmp_path).storing("tools", "k"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list((tmp_path / "tools").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Cache(tmp_path / "file").storing("tools", "k")
    with pytest.raises(HostError, match="cannot be written: Not a directory"), store:
        pytest.fail("the block must not run")


@pytest.mark.parametrize("exchange", [True, False])
def test_an_entry_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    cache = Cache(tmp_path)
    _store(cache, "one")
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if target == tmp_path / "tools/k" and not source.name.endswith("-old"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(source, target)

    def no_exchange(one: Path, other: Path) -> None:
        raise OSError(errno.EIO if exchange else errno.EINVAL, "refused", str(other))

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr("ktstr.host.cache._exchange", no_exchange)
    with pytest.raises(HostError, match="cannot be written"):
        _store(cache, "two")
    assert (tmp_path / "tools/k/file").read_text() == "one"
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["k"]


def test_without_an_exchange_of_names_an_entry_is_replaced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_exchange(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument", str(other))

    monkeypatch.setattr("ktstr.host.cache._exchange", no_exchange)
    test_a_stored_entry_is_there_and_a_later_one_replaces_it(tmp_path)


def test_a_reader_never_sees_an_entry_absent_while_it_is_replaced(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    _store(cache, "0")
    absent, stop = [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not (tmp_path / "tools/k").exists():
                absent.append(True)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(40):
            _store(cache, str(number))
    finally:
        stop.set()
        reader.join()
    assert not absent


def test_what_a_killed_writer_left_is_swept_and_a_neighbours_is_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in (".tmp-k-999999", ".tmp-k-12-old", ".tmp-k-2-77", ".tmp-other-5"):
        (tmp_path / "tools" / name).mkdir(parents=True)
    _store(cache, "one")
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == [".tmp-k-2-77", ".tmp-other-5", "k"]


def test_a_writer_that_waits_in_vain_names_the_holder(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    script = (
        "import sys; from pathlib import Path; from ktstr.host.cache import Cache\n"
        f"with Cache(Path({str(tmp_path)!r})).writing('tools', 'k'):\n print('held', flush=True); sys.stdin.read()"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(HostError, match=f"pid={holder.pid} "), cache.writing("tools", "k", timeout_s=0.3):
            pass
        holder.stdin.close()


def test_readers_share_an_entry_and_keep_a_writer_out(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    refused = pytest.raises(HostError, match=f"no exclusive lock within 0 s; held by:\n  pid={os.getpid()}")
    with cache.reading("kernels", "k"), cache.reading("kernels", "k"), refused:
        cache.writing("kernels", "k", timeout_s=0).__enter__()
    with cache.writing("kernels", "k", timeout_s=0), pytest.raises(HostError, match="no shared lock"):
        cache.reading("kernels", "k", timeout_s=0).__enter__()


def test_a_folder_of_many_files_is_stored_too(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.storing("sources", "k") as folder:
        for number in range(200):
            (folder / f"{number}").write_text("x")
    assert len(list(cache.entry("sources", "k").iterdir())) == 200
