"""Files from the web: verified by hash, resumed when cut off, tried again when the server stumbles.

Proxies and certificates are those of the environment: http_proxy, https_proxy, all_proxy, no_proxy,
REQUESTS_CA_BUNDLE, SSL_CERT_FILE.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.files import file_sha256, full_or_denied, read_json, replace_file
from ktstr.host.abandon import abandonable

if TYPE_CHECKING:
    import requests  # imported when first used: it is slow to load, and most commands fetch nothing

ATTEMPTS = 5
BACKOFF_S = 0.5  # before the second attempt; doubled before each further one
CHUNK = 1 << 18
OnBytes = Callable[[int, int | None], None]
T = TypeVar("T")
_MAX_NOTE = 1 << 20  # bytes
_HEADERS = {"User-Agent": "ktstr", "Accept-Encoding": "identity"}
_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_STRONG_TAG = re.compile(r'"[!#-~]{1,200}"')  # RFC 9110, 8.8.3; a weak one begins with W/


class Missing(HostError):
    """The server has no such file (404, 410)."""


class Tampered(HostError):
    """The file that came is not the one that was expected."""


class _TryAgain(Exception):
    """What may work the next time."""


@dataclass(frozen=True)
class Net:
    """How the web is reached, and whether.

    ``environ`` has proxies and certificates; ``connect_s`` is how long a server may take to answer, ``stall_s``
    how long it may send nothing. ``cancel`` ends every wait within a second, and refuses new requests.
    """

    environ: Mapping[str, str]
    offline: bool = False
    connect_s: float = 10.0
    stall_s: float = 60.0
    cancel: Cancel = field(default_factory=Cancel, compare=False, repr=False)


def _refuse_offline(url: str, net: Net) -> None:
    if net.offline:
        raise HostError(f"{url}: would be fetched, and offline=1 forbids it", fix="offline=0, once")


def download(
    url: str,
    target: Path,
    sha256: str | None,
    net: Net,
    *,
    limit_bytes: int,
    on_bytes: OnBytes | None = None,
    attempts: int = ATTEMPTS,
) -> str:
    """Fetch ``url`` to ``target`` and give its SHA-256; what is there before is replaced in one step.

    ``target.part`` keeps what came of a transfer that broke off; the next attempt, or the next call, goes on behind
    it unless the file changed. ``sha256`` is what it must be, None to learn it. ``on_bytes`` is told of bytes done
    and in all. Raises Missing, Tampered, Cancelled, and HostError for an unreachable or unwilling server, a file above
    ``limit_bytes`` or a full disk.
    """
    _refuse_offline(url, net)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _patiently(attempts, url, lambda: _transfer(url, part, limit_bytes, on_bytes, net), net.cancel)
        found = file_sha256(part)
        if sha256 is not None and found != sha256:
            _forget(part)
            raise Tampered(
                f"{url}: SHA-256 is {found}, expected {sha256}",
                fix="try again; if it stays so, do not trust that server",
            )
        replace_file(part, target)
        _forget(part)
        return found
    except OSError as err:
        raise full_or_denied(err, target) from err


def fetch_bytes(url: str, limit_bytes: int, net: Net) -> bytes:
    """A small file, whole. Raises as ``download`` does."""
    _refuse_offline(url, net)

    def get() -> bytes:
        body = bytearray()
        with closing(_request("GET", url, {}, net)) as answer:
            _check(url, answer)
            for chunk in _chunks(answer, net, decode=True):
                body.extend(chunk)
                _within(url, len(body), limit_bytes)
            _whole(len(body), None if "Content-Encoding" in answer.headers else _length(answer))
        return bytes(body)

    return _patiently(3, url, get, net.cancel)


def head(url: str, net: Net) -> bool:
    """Whether the server has a file there; a web page is no file. Raises HostError when it does not tell."""
    _refuse_offline(url, net)

    def ask() -> bool:
        with closing(_request("HEAD", url, {}, net)) as answer:
            try:
                _check_status(url, answer)
                return not _is_page(answer)
            except Missing:
                return False

    return _patiently(3, url, ask, net.cancel)


def _patiently(attempts: int, url: str, attempt: Callable[[], T], cancel: Cancel) -> T:
    """Try, and after each failure that may pass try again, later each time."""
    for number in range(1, attempts + 1):
        try:
            return abandonable(attempt, cancel)
        except _TryAgain as err:
            if number == attempts:
                raise HostError(f"{url}: {err}", fix="check the network and proxy, and try again") from None
            cancel.wait(BACKOFF_S * 2 ** (number - 1))
    raise AssertionError("one attempt at least")


def _request(method: str, url: str, headers: Mapping[str, str], net: Net) -> requests.Response:
    import requests

    session = requests.Session()
    session.trust_env = False  # it would read this process's environment, not ours
    try:
        answer = session.request(
            method,
            url,
            headers={**_HEADERS, **headers},
            stream=True,
            timeout=(net.connect_s, net.stall_s),
            allow_redirects=True,
            proxies=_proxies(url, net.environ),
            verify=net.environ.get("REQUESTS_CA_BUNDLE") or net.environ.get("SSL_CERT_FILE") or True,
        )
    except requests.TooManyRedirects as err:
        raise HostError(f"{url}: redirected without end: {err}", fix="check the address and proxy") from None
    except ValueError as err:  # no address: given, redirected to, or of a proxy
        raise HostError(f"{url}: cannot be asked: {err}", fix="check the address and proxy") from None
    except OSError as err:  # as all other errors of requests are
        raise _unreachable(url, err) from None
    if net.cancel.is_set():
        answer.close()
    net.cancel.check()
    return answer


def _unreachable(url: str, err: OSError) -> HostError | _TryAgain:
    root = _root(err)
    if isinstance(root, ssl.SSLCertVerificationError):
        return HostError(
            f"{url}: the server's certificate is not trusted: {root.verify_message}",
            fix="apt-get install ca-certificates, or set SSL_CERT_FILE to the certificates to trust",
        )
    return _TryAgain(f"cannot be reached: {_words(root)}")


def _proxies(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies for ``url``, by scheme; lower case goes first, as in curl."""

    def value(name: str) -> str:
        return environ.get(name) or environ.get(name.upper()) or ""

    if _goes_direct(url, value("no_proxy")):
        return {}
    return {scheme: proxy for scheme in ("http", "https", "all") if (proxy := value(f"{scheme}_proxy"))}


def _goes_direct(url: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` lists the host: by name, a domain above it, address or network (10.0.0.0/8); ``*`` is all.

    The function requests has for this changes the process's environment meanwhile: not for threads.
    """
    place = urllib.parse.urlsplit(url)
    host = place.hostname or ""
    names = (f".{host}", f".{host}:{place.port}")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for word in filter(None, (word.strip().lower().lstrip(".") for word in no_proxy.split(","))):
        network = _network(word) if address else None
        if word == "*" or any(name.endswith(f".{word}") for name in names) or (network and address in network):
            return True
    return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _root(err: BaseException) -> BaseException:
    """The cause at the bottom of a chain of library errors."""
    while (cause := err.__cause__ or err.__context__) is not None:
        err = cause
    return err


def _words(err: BaseException) -> str:
    return str(err).rpartition(": ")[2][:200] or type(err).__name__


def _check(url: str, answer: requests.Response) -> None:
    """Refuse what is no file: errors, and web pages that proxies and mirrors send with 200."""
    _check_status(url, answer)
    if _is_page(answer):
        raise HostError(f"{url}: found HTML instead of tarball or data", fix="a proxy or login page is in between")


def _check_status(url: str, answer: requests.Response) -> None:
    status = answer.status_code
    plain = next((hop.url for hop in (*answer.history, answer) if not hop.url.startswith("https:")), None)
    if plain and url.startswith("https:"):
        raise HostError(f"{url}: redirected to {plain[:200]}, expected TLS all the way", fix="check the proxy")
    if status in (404, 410):
        raise Missing(f"{url}: not found ({status})", fix="check the name")
    if status >= 500 or status in (408, 429):
        raise _TryAgain(f"answered {status}")
    if status not in (200, 206):
        raise HostError(f"{url}: answered {status}", fix="check the address and proxy")


def _is_page(answer: requests.Response) -> bool:
    return "text/html" in answer.headers.get("Content-Type", "").lower()


def _length(answer: requests.Response) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if _LENGTH.fullmatch(text) else None


def _within(url: str, size: int, limit: int) -> None:
    if size > limit:
        raise HostError(f"{url}: more than {limit} bytes, the most that is expected", fix="check the address")


def _chunks(answer: requests.Response, net: Net, *, decode: bool = False) -> Iterator[bytes]:
    """The body; of a file never decoded: some servers call a .tar.gz a tar in the encoding gzip."""
    from urllib3.exceptions import HTTPError

    try:
        for chunk in answer.raw.stream(CHUNK, decode_content=decode):
            net.cancel.check()
            yield chunk
    except (OSError, HTTPError) as err:
        raise _TryAgain(f"the connection broke off: {_words(_root(err))}") from None


def _whole(done: int, total: int | None) -> None:
    if total is not None and done < total:
        raise _TryAgain(f"the connection broke off after {done} of {total} bytes")


def _transfer(url: str, part: Path, limit: int, on_bytes: OnBytes | None, net: Net) -> None:
    """One attempt: go on behind ``part`` when it is of this file, else begin anew."""
    had = _resumable(url, part)
    headers = {"Range": f"bytes={had.size}-", "If-Range": had.tag} if had.size else {}
    with closing(_request("GET", url, headers, net)) as answer:
        if answer.status_code == 416:
            _forget(part)  # it is shorter now, or was whole: begin anew
            raise _TryAgain("the part here does not fit the file there")
        _check(url, answer)
        extent = _extent(answer, had.size, part)
        done, total = extent.begin, extent.total
        _within(url, total or 0, limit)
        with part.open("ab" if done else "wb") as file:
            _note(url, part, answer.headers.get("ETag", ""))  # after the old part is emptied: it is not of this tag
            for chunk in _chunks(answer, net):
                done += len(chunk)
                if done > limit:
                    _forget(part)
                _within(url, done, limit)
                file.write(chunk)
                if on_bytes is not None:
                    on_bytes(done, total)
        _whole(done, total)


@dataclass(frozen=True)
class _Extent:
    """Where an answer's body begins in the file, and how long the file is; None when not known. In bytes."""

    begin: int
    total: int | None


def _extent(answer: requests.Response, had: int, part: Path) -> _Extent:
    """What the answer to a request from byte ``had`` on holds. A part that does not fit it is removed."""
    length = _length(answer)
    if answer.status_code != 206:
        return _Extent(0, length)
    span = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if not had or span is None or int(span[1]) != had:
        _forget(part)
        raise _TryAgain("it answered with another range than was asked for")
    if span[2] != "*":
        return _Extent(had, int(span[2]))
    return _Extent(had, None if length is None else had + length)


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(url: str, part: Path, tag: str) -> None:
    """Remember which file the part is of: without a strong validator it cannot be resumed (RFC 9110, 13.1.5)."""
    strong = tag if _STRONG_TAG.fullmatch(tag) else ""
    _note_path(part).write_text(json.dumps({"url": url, "etag": strong}), encoding="utf-8")


@dataclass(frozen=True)
class _Part:
    """What an earlier transfer left: its size in bytes, 0 for nothing to go on with, and its strong validator."""

    size: int
    tag: str


def _resumable(url: str, part: Path) -> _Part:
    try:
        note = read_json(_note_path(part), _MAX_NOTE)
        size = part.stat().st_size
    except (InputError, OSError):
        return _Part(0, "")
    tag = note.get("etag")
    if note.get("url") == url and isinstance(tag, str) and _STRONG_TAG.fullmatch(tag):
        return _Part(size, tag)
    return _Part(0, "")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)
