from __future__ import annotations

import gzip
import hashlib
import os
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.host import download as module
from ktstr.host.download import Missing, Net, Tampered, download, fetch_bytes, head
from tests.host.waits import cancelled_soon, silent_server
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
    how = {"environ": {}, "stall_s": 5.0} | {k: more.pop(k) for k in list(more) if k in Net.__dataclass_fields__}
    net = Net(**how)  # type: ignore[arg-type]
    return download(f"{web.url}/f", target, sha256, net, **{"limit_bytes": 1 << 30, **more})  # type: ignore[arg-type]


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
            download(url, tmp_path / "t", None, Net({}, stall_s=0.2), limit_bytes=9, attempts=2)


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


def test_a_server_that_sends_a_range_in_pieces_is_asked_until_all_is_there(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"cut {PART}", "first 1000", "first 2000"]
    assert get(web, tmp_path / "t", None) == SUM
    first, *rest = [int(span[6:-1]) for span in web.asked("/f")[1:]]
    assert rest == [first + 1000, first + 3000]


def test_a_part_that_nobody_asked_for_is_not_taken_for_the_file(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = ["unasked 1000"]
    assert get(web, tmp_path / "t", None) == SUM
    assert web.asked("/f") == ["", ""]


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


_NOTE = '{"url": "URL", "etag": %s}'


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        "{",
        '{"url": 1}',
        "\xff",
        "[" * 100_000,
        '{"url": 1, "url": "URL", "etag": "\\"1\\""}',
        *(_NOTE % tag for tag in ("7", '""', '"1"', r'"\"1\"\r\nX: y"')),
    ],
)
def test_a_damaged_note_beside_a_part_means_beginning_anew(web: Web, tmp_path: Path, note: str) -> None:
    (tmp_path / "t.part").write_bytes(b"rubbish")
    (tmp_path / "t.part.json").write_text(note.replace("URL", f"{web.url}/f"), encoding="latin-1")
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
    assert names(tmp_path) == [] and len(web.seen) == 1


@pytest.mark.parametrize("text", ["9" * 5000, "3 MB", "-1", "\u00b2"])
def test_a_length_that_is_no_number_is_passed_over(web: Web, tmp_path: Path, text: str) -> None:
    web.fields["/f"] = {"Content-Length": text}
    told: list[int | None] = []
    assert get(web, tmp_path / "t", attempts=1, on_bytes=lambda done, total: told.append(total)) == SUM
    assert set(told) == {None}


def test_more_than_the_told_length_is_not_read(web: Web, tmp_path: Path) -> None:
    web.fields["/f"] = {"Content-Length": "1000"}
    assert get(web, tmp_path / "t", None) == hashlib.sha256(BODY[:1000]).hexdigest()
    with pytest.raises(Tampered):
        get(web, tmp_path / "u")


def test_less_than_the_told_length_is_no_file(web: Web, tmp_path: Path) -> None:
    web.fields["/f"] = {"Content-Length": str(len(BODY) + 1)}
    with pytest.raises(HostError, match="broke off"):
        get(web, tmp_path / "t", None, attempts=1)
    assert not (tmp_path / "t").exists()


def test_an_archive_called_an_encoding_is_stored_as_it_is(web: Web, tmp_path: Path) -> None:
    packed = gzip.compress(BODY[:9000])
    web.files["/f"], web.fields["/f"] = packed, {"Content-Encoding": "x-gzip", "Content-Type": "application/x-tar"}
    assert get(web, tmp_path / "t", hashlib.sha256(packed).hexdigest()) == hashlib.sha256(packed).hexdigest()
    assert (tmp_path / "t").read_bytes() == packed
    assert fetch_bytes(f"{web.url}/f", 9000, Net({})) == BODY[:9000]


def test_redirects_are_followed_but_not_for_ever(web: Web, tmp_path: Path) -> None:
    web.files["/old"], web.faults["/old"] = b"", [f"to {web.url}/f"]
    assert download(f"{web.url}/old", tmp_path / "t", SUM, Net({}), limit_bytes=1 << 30) == SUM
    web.seen.clear()
    web.faults["/old"] = [f"to {web.url}/old"] * 200
    with pytest.raises(HostError, match="redirected without end: Exceeded 30 redirects"):
        download(f"{web.url}/old", tmp_path / "u", SUM, Net({}), limit_bytes=1 << 30)
    assert len(web.seen) == 31


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/f", "http://[", "file:///etc/passwd"])
def test_what_is_no_web_address_is_refused_at_once(web: Web, tmp_path: Path, place: str) -> None:
    web.faults["/f"] = [f"to {place}"]
    with pytest.raises(HostError, match="cannot be asked"):
        get(web, tmp_path / "t")
    with pytest.raises(HostError, match="cannot be asked"):
        download(place, tmp_path / "t", None, Net({}), limit_bytes=9)
    assert len(web.seen) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own making for 127.0.0.1, in one file."""
    path = tmp_path_factory.mktemp("tls") / "pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=loopback"
    words = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(words, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Web]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with web_server(context) as found:
        found.files["/f"] = BODY
        yield found


def test_a_certificate_that_the_environment_trusts_is_good(secure: Web, tmp_path: Path, certificate: Path) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        assert get(secure, tmp_path / "t", environ={name: f"{certificate}.crt"}) == SUM


def test_a_certificate_that_nobody_trusts_is_named_at_once(secure: Web, tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(HostError, match=r"certificate is not trusted: .*\n  fix: apt-get install ca-certificates"):
        get(secure, tmp_path / "t", attempts=1000)
    assert time.monotonic() - begin < 20
    assert names(tmp_path) == []


def test_a_redirect_from_tls_to_plain_text_is_refused(secure: Web, web: Web, tmp_path: Path, certificate: Path) -> None:
    environ = {"SSL_CERT_FILE": f"{certificate}.crt"}
    secure.faults["/f"] = [f"to {web.url}/f", f"to {web.url}/f", f"to {web.url}/back"]
    web.faults["/back"] = [f"to {secure.url}/f"]
    with pytest.raises(HostError, match=rf"redirected to {web.url}/f, expected TLS all the way"):
        get(secure, tmp_path / "t", environ=environ)
    with pytest.raises(HostError, match="expected TLS"):
        head(f"{secure.url}/f", Net(environ))
    with pytest.raises(HostError, match=rf"redirected to {web.url}/back"):
        fetch_bytes(f"{secure.url}/f", 1 << 30, Net(environ))
    assert names(tmp_path) == []


def test_offline_names_what_would_be_fetched_and_asks_nobody(web: Web, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=rf"{web.url}/f: would be fetched, and offline=1"):
        get(web, tmp_path / "t", offline=True)
    for ask in (lambda: fetch_bytes("http://127.0.0.1:1/x", 9, Net({}, offline=True)),
                lambda: head("http://127.0.0.1:1/x", Net({}, offline=True))):  # fmt: skip
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
    assert download("http://kernel.example/f", tmp_path / "t", SUM, Net(proxy), limit_bytes=1 << 30) == SUM
    around = {**proxy, "no_proxy": "127.0.0.1"}
    assert get(web, tmp_path / "u", environ=around) == SUM
    assert [path for _, path, _ in web.seen] == ["http://kernel.example/f", "/f"]


@pytest.mark.parametrize(
    ("no_proxy", "asked"),
    [
        ("", "http://sub.kernel.example/f"),
        ("other.example, kernel.exampl,ernel.example", "http://sub.kernel.example/f"),
        ("10.0.0.0/8,192.0.2.1", "http://192.0.2.2/f"),
        ("kernel.example:8080", "http://kernel.example/f"),
    ],
)
def test_no_proxy_lists_other_hosts(web: Web, no_proxy: str, asked: str) -> None:
    web.files[asked] = BODY
    assert fetch_bytes(asked, 1 << 30, Net({"HTTP_PROXY": web.url, "NO_PROXY": no_proxy})) == BODY


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "http://any.example/f"),
        ("a.example, Kernel.example", "http://sub.kernel.example/f"),
        (".kernel.example", "http://kernel.example/f"),
        ("kernel.example:8080", "http://kernel.example:8080/f"),
        ("127.0.0.0/8", "http://127.0.0.1:1/f"),
        ("::1", "http://[::1]:1/f"),
    ],
)
def test_no_proxy_lists_this_host(web: Web, no_proxy: str, url: str) -> None:
    with pytest.raises(HostError, match="cannot be reached"):  # no such host, or nobody listens there
        fetch_bytes(url, 99, Net({"http_proxy": web.url, "no_proxy": no_proxy}))
    assert web.seen == []


def test_threads_leave_the_processes_environment_alone(web: Web, tmp_path: Path) -> None:
    before = dict(os.environ)
    seen: list[bool] = []
    get(
        web, tmp_path / "t", environ={"no_proxy": "127.0.0.1"},
        on_bytes=lambda done, total: seen.append(dict(os.environ) == before),
    )  # fmt: skip
    assert all(seen) and dict(os.environ) == before


def test_the_processes_own_proxies_are_not_read(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(web, tmp_path / "t", attempts=1) == SUM


def test_bytes_of_a_small_file_are_whole_or_an_error(web: Web) -> None:
    url = f"{web.url}/f"
    web.faults["/f"] = ["cut 100"]
    assert fetch_bytes(url, 1 << 30, Net({})) == BODY
    with pytest.raises(HostError, match="more than 10 bytes"):
        fetch_bytes(url, 10, Net({}))
    web.faults["/f"] = ["cut 100"] * 3
    with pytest.raises(HostError, match="broke off"):
        fetch_bytes(url, 1 << 30, Net({}))
    with pytest.raises(Missing):
        fetch_bytes(f"{web.url}/none", 9, Net({}))


def test_head_says_whether_there_is_a_file(web: Web) -> None:
    web.faults["/f"] = ["503", "", "html"]
    assert head(f"{web.url}/f", Net({}))  # after one 503
    assert not head(f"{web.url}/f", Net({}))  # a page
    assert not head(f"{web.url}/none", Net({}))
    web.faults["/f"] = ["403"]
    with pytest.raises(HostError, match="answered 403"):  # neither there nor missing
        head(f"{web.url}/f", Net({}))
    web.faults["/f"] = ["500"] * 3
    with pytest.raises(HostError, match="answered 500"):
        head(f"{web.url}/f", Net({}))


def test_two_downloads_at_once_do_not_share_a_connection(web: Web, tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(get(web, tmp_path / n))) for n in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SUM, SUM]


def test_a_cancelled_transfer_ends_and_keeps_what_came(web: Web, tmp_path: Path) -> None:
    web.faults["/f"] = [f"stall {PART}"]
    cancel = Cancel()
    with cancelled_soon(cancel):
        get(web, tmp_path / "t", stall_s=30.0, cancel=cancel)
    assert 0 < (tmp_path / "t.part").stat().st_size <= PART and not (tmp_path / "t").exists()
    assert get(web, tmp_path / "t") == SUM
    assert web.asked("/f")[1].startswith("bytes="), "it went on where it was"


def test_cancelled_by_what_it_tells_it_fetches_nothing_more(web: Web, tmp_path: Path) -> None:
    cancel, told = Cancel(), list[int]()

    def tell(done: int, total: int | None) -> None:
        told.append(done)
        cancel.set()

    with pytest.raises(Cancelled):
        get(web, tmp_path / "t", cancel=cancel, on_bytes=tell)
    assert len(told) == 1
    assert (tmp_path / "t.part").stat().st_size == told[0]


@pytest.mark.parametrize("ask", [lambda url, net: fetch_bytes(url, 99, net), head])
def test_a_server_that_says_nothing_is_left_at_once(ask: Callable[[str, Net], object]) -> None:
    cancel = Cancel()
    with silent_server() as port, cancelled_soon(cancel):
        ask(f"http://127.0.0.1:{port}/f", Net({}, stall_s=30.0, cancel=cancel))


def test_a_wait_before_another_attempt_is_cancelled_too(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", 60.0)
    web.faults["/f"] = ["503"]
    cancel = Cancel()
    with cancelled_soon(cancel):
        get(web, tmp_path / "t", cancel=cancel)
    assert len(web.seen) == 1
    with pytest.raises(Cancelled):
        get(web, tmp_path / "t", cancel=cancel)
    assert len(web.seen) == 1, "nothing is asked once it is cancelled"
