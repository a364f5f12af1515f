from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.host import download as module
from ktstr.host.download import Missing, Tampered, download, fetch_bytes, head
from tests.host.web import Web, web_server

BODY = random.Random(1).randbytes(3 << 20)
SUM = hashlib.sha256(BODY).hexdigest()
PART = 2 << 20


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as found:
        found.files["/f"] = BODY
        found.etags["/f"] = '"1"'
        yield found


def get(web: Web, target: Path, sha256: str | None = SUM, **more: object) -> str:
    options: dict[str, object] = {"environ": {}, "limit_bytes": 1 << 30, "stall_s": 5.0, **more}
    return download(f"{web.url}/f", target, sha256, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_alone(web: Web, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    assert get(web, tmp_path / "new/t", None, on_bytes=lambda done, total: told.append((done, total))) == SUM
    assert (tmp_path / "new/t").read_bytes() == BODY
    assert names(tmp_path / "new") == ["t"]
    assert told[-1] == (len(BODY), len(BODY)) and [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_transfer_that_breaks_off_goes_on_where_it_was(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"cut {PART}"]
    assert get(web, tmp_path / "t") == SUM
    first, second = web.asked("/f")
    assert first == "" and second.startswith("bytes=")
    assert 0 < int(second[6:-1]) <= PART
    assert names(tmp_path) == ["t"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"cut {PART}"]
    with pytest.raises(HostError, match="broke off"):
        get(web, tmp_path / "t", attempts=1)
    left = (tmp_path / "t.part").stat().st_size
    assert 0 < left <= PART and not (tmp_path / "t").exists()
    assert get(web, tmp_path / "t") == SUM
    assert web.asked("/f") == ["", f"bytes={left}-"]


def test_a_stalled_transfer_is_left_and_resumed(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"stall {PART}"]
    begin = time.monotonic()
    assert get(web, tmp_path / "t", stall_s=0.3) == SUM
    assert time.monotonic() - begin < 15  # the server would be silent for 20 s
    assert web.asked("/f")[1].startswith("bytes=")


def test_a_server_that_never_answers_is_a_host_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/f"
        with pytest.raises(HostError, match="cannot be reached"):
            download(url, tmp_path / "t", None, environ={}, limit_bytes=9, stall_s=0.2, attempts=2)


def test_a_slow_transfer_is_no_stalled_one(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = ["slow"]  # takes 0.4 s in pieces 0.05 s apart
    assert get(web, tmp_path / "t", stall_s=0.3, attempts=1) == SUM


def test_a_server_without_range_support_sends_it_all_again(web: Web, tmp_path: Path) -> None:
    web.ranges, web.faults["/f"] = False, [f"cut {PART}"]
    assert get(web, tmp_path / "t") == SUM
    assert web.asked("/f")[1].startswith("bytes=")
    assert (tmp_path / "t").read_bytes() == BODY


def test_a_server_that_answers_another_range_is_not_believed(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"cut {PART}", "lie"]
    assert get(web, tmp_path / "t") == SUM
    assert (tmp_path / "t").read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_fetched_anew(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"cut {PART}"]
    with pytest.raises(HostError):
        get(web, tmp_path / "t", attempts=1)
    web.files["/f"], web.etags["/f"] = BODY[::-1], '"2"'
    assert get(web, tmp_path / "t", None) == hashlib.sha256(BODY[::-1]).hexdigest()


@pytest.mark.parametrize("tag", ["", 'W/"1"'])
def test_without_a_strong_etag_nothing_is_resumed(web: Web, tmp_path: Path, tag: str) -> None:
    web.etags["/f"], web.faults["/f"] = tag, [f"cut {PART}"]
    assert get(web, tmp_path / "t") == SUM
    assert web.asked("/f") == ["", ""]


def test_a_part_longer_than_the_file_is_thrown_away(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"cut {PART}"]
    with pytest.raises(HostError):
        get(web, tmp_path / "t", attempts=1)
    (tmp_path / "t.part").write_bytes(BODY + b"x")
    assert get(web, tmp_path / "t") == SUM


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": 1}', "\xff"])
def test_a_damaged_note_beside_a_part_means_beginning_anew(web: Web, tmp_path: Path, note: str) -> None:
    (tmp_path / "t.part").write_bytes(b"rubbish")
    (tmp_path / "t.part.json").write_text(note, encoding="latin-1")
    assert get(web, tmp_path / "t") == SUM
    assert web.asked("/f") == [""]


def test_a_tampered_file_is_refused_and_nothing_of_it_stays(web: Web, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"before")
    with pytest.raises(Tampered, match=rf"SHA-256 is {SUM}, expected {'0' * 64}"):
        get(web, tmp_path / "t", "0" * 64)
    assert (tmp_path / "t").read_bytes() == b"before"
    assert names(tmp_path) == ["t"]


def test_a_tampered_file_is_not_asked_for_again(web: Web, tmp_path: Path) -> None:
    with pytest.raises(Tampered):
        get(web, tmp_path / "t", "0" * 64)
    assert len(web.seen) == 1


def test_a_missing_file_is_named_and_not_asked_for_again(web: Web, tmp_path: Path) -> None:
    del web.files["/f"]
    with pytest.raises(Missing, match=rf"{web.url}/f: not found \(404\)"):
        get(web, tmp_path / "t")
    assert len(web.seen) == 1 and names(tmp_path) == []


def test_a_stumbling_server_is_asked_again(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = ["500", "429", "503"]
    assert get(web, tmp_path / "t") == SUM
    assert len(web.seen) == 4


def test_a_server_that_stays_down_is_a_host_error_after_all_attempts(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = ["502"] * 9
    with pytest.raises(HostError, match="answered 502"):
        get(web, tmp_path / "t", attempts=3)
    assert len(web.seen) == 3


def test_a_refusal_is_not_asked_again(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = ["403"]
    with pytest.raises(HostError, match="answered 403"):
        get(web, tmp_path / "t")
    assert len(web.seen) == 1


def test_a_web_page_is_no_file(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = ["html"]
    with pytest.raises(HostError, match="HTML instead of tarball"):
        get(web, tmp_path / "t", None)
    assert names(tmp_path) == []


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_above_the_limit_is_refused(web: Web, tmp_path: Path, lengths: bool) -> None:
    web.lengths = lengths
    with pytest.raises(HostError, match="more than 1000 bytes"):
        get(web, tmp_path / "t", limit_bytes=1000)
    assert not (tmp_path / "t").exists()


def test_offline_names_what_would_be_fetched_and_asks_nobody(web: Web, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=rf"{web.url}/f: would be fetched, and offline=1"):
        get(web, tmp_path / "t", offline=True)
    for ask in (lambda: fetch_bytes("http://127.0.0.1:1/x", 9, environ={}, offline=True),
                lambda: head("http://127.0.0.1:1/x", environ={}, offline=True)):  # fmt: skip
        with pytest.raises(HostError, match="offline=1"):
            ask()
    assert web.seen == []


def test_a_folder_that_cannot_be_made_is_named(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="file/t: cannot be written"):
        get(web, tmp_path / "file" / "t")


def test_a_disk_that_fills_up_is_said_to_be_full(web: Web, tmp_path: Path) -> None:
    (tmp_path / "t.part").symlink_to("/dev/full")
    with pytest.raises(HostError, match="the disk is full"):
        get(web, tmp_path / "t")


def test_proxies_of_the_given_environment_are_used_but_for_no_proxy(web: Web, tmp_path: Path) -> None:
    web.files["http://kernel.example/f"] = BODY  # a proxy is asked for whole addresses
    proxy = {"http_proxy": web.url}
    assert download("http://kernel.example/f", tmp_path / "t", SUM, environ=proxy, limit_bytes=1 << 30) == SUM
    around = {**proxy, "no_proxy": "127.0.0.1"}
    assert get(web, tmp_path / "u", environ=around) == SUM
    assert [path for _, path, _ in web.seen] == ["http://kernel.example/f", "/f"]


def test_the_processes_own_proxies_are_not_read(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(web, tmp_path / "t", attempts=1) == SUM


def test_bytes_of_a_small_file_are_whole_or_an_error(web: Web) -> None:
    url = f"{web.url}/f"
    web.faults["/f"] = ["cut 100"]
    assert fetch_bytes(url, 1 << 30, environ={}) == BODY
    with pytest.raises(HostError, match="more than 10 bytes"):
        fetch_bytes(url, 10, environ={})
    web.faults["/f"] = ["cut 100"] * 3
    with pytest.raises(HostError, match="broke off"):
        fetch_bytes(url, 1 << 30, environ={})
    with pytest.raises(Missing):
        fetch_bytes(f"{web.url}/none", 9, environ={})


def test_head_says_whether_there_is_a_file(web: Web) -> None:
    web.faults["/f"] = ["503", "", "html"]
    assert head(f"{web.url}/f", environ={})  # after one 503
    assert not head(f"{web.url}/f", environ={})  # a page
    assert not head(f"{web.url}/none", environ={})
    web.faults["/f"] = ["500"] * 3
    with pytest.raises(HostError, match="answered 500"):
        head(f"{web.url}/f", environ={})


def test_two_downloads_at_once_do_not_share_a_connection(web: Web, tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(get(web, tmp_path / n))) for n in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SUM, SUM]
