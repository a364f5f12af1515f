"""Files from the web: verified by hash, resumed when cut off, tried again when the server stumbles.

Proxies and certificates are those of the environment: http_proxy, https_proxy, all_proxy, no_proxy,
REQUESTS_CA_BUNDLE, SSL_CERT_FILE.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import HostError
from ktstr.host.deb import file_sha256, full_or_denied

if TYPE_CHECKING:
    import requests  # imported when first used: it is slow to load, and most commands fetch nothing

ATTEMPTS = 5
BACKOFF_S = 0.5  # before the second attempt; doubled before each further one
CHUNK = 1 << 18
OnBytes = Callable[[int, int | None], None]
_HEADERS = {"User-Agent": "ktstr", "Accept-Encoding": "identity"}


class Missing(HostError):
    """The server has no such file (404, 410)."""


class Tampered(HostError):
    """The file that came is not the one that was expected."""


class _TryAgain(Exception):
    """What may work the next time."""


@dataclass(frozen=True)
class _Net:
    """How the web is reached. ``stall_s``: how long a server may send nothing."""

    environ: Mapping[str, str]
    connect_s: float
    stall_s: float


def _refuse_offline(url: str, offline: bool) -> None:
    if offline:
        raise HostError(f"{url}: would be fetched, and offline=1 forbids it", fix="offline=0, once")


def download(
    url: str,
    target: Path,
    sha256: str | None,
    *,
    environ: Mapping[str, str],
    offline: bool = False,
    limit_bytes: int,
    on_bytes: OnBytes | None = None,
    connect_s: float = 10.0,
    stall_s: float = 60.0,
    attempts: int = ATTEMPTS,
) -> str:
    """Fetch ``url`` to ``target`` and give its SHA-256; what is there before is replaced in one step.

    ``target.part`` keeps what came of a transfer that broke off; the next attempt, or the next call, goes on behind
    it unless the file changed. ``sha256`` is what it must be, None to learn it. ``on_bytes`` is told of bytes done
    and in all. Raises Missing, Tampered, and HostError for an unreachable or unwilling server, a file above
    ``limit_bytes`` or a full disk.
    """
    _refuse_offline(url, offline)
    net = _Net(environ, connect_s, stall_s)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _patiently(attempts, url, lambda: _transfer(url, part, limit_bytes, on_bytes, net))
        found = file_sha256(part)
        if sha256 is not None and found != sha256:
            _forget(part)
            raise Tampered(
                f"{url}: SHA-256 is {found}, expected {sha256}",
                fix="try again; if it stays so, do not trust that server",
            )
        part.replace(target)
        _forget(part)
        return found
    except OSError as err:
        raise full_or_denied(err, target) from err


def fetch_bytes(
    url: str,
    limit_bytes: int,
    *,
    environ: Mapping[str, str],
    offline: bool = False,
    connect_s: float = 10.0,
    stall_s: float = 60.0,
) -> bytes:
    """A small file, whole. Raises as ``download`` does."""
    _refuse_offline(url, offline)
    net, body = _Net(environ, connect_s, stall_s), bytearray()

    def get() -> None:
        body.clear()
        with closing(_request("GET", url, {}, net)) as answer:
            _check(url, answer)
            for chunk in _chunks(answer):
                body.extend(chunk)
                _within(url, len(body), limit_bytes)
            _whole(len(body), _length(answer))

    _patiently(3, url, get)
    return bytes(body)


def head(
    url: str,
    *,
    environ: Mapping[str, str],
    offline: bool = False,
    connect_s: float = 10.0,
    stall_s: float = 60.0,
) -> bool:
    """Whether the server has a file there; a web page is no file. Raises HostError when it cannot be asked."""
    _refuse_offline(url, offline)
    net = _Net(environ, connect_s, stall_s)
    found: list[bool] = []

    def ask() -> None:
        with closing(_request("HEAD", url, {}, net)) as answer:
            if answer.status_code >= 500:
                raise _TryAgain(f"answered {answer.status_code}")
            found[:] = [answer.ok and "text/html" not in answer.headers.get("Content-Type", "")]

    _patiently(3, url, ask)
    return found[0]


def _patiently(attempts: int, url: str, attempt: Callable[[], None]) -> None:
    for left in range(attempts - 1, -1, -1):
        try:
            attempt()
        except _TryAgain as err:
            if left == 0:
                raise HostError(f"{url}: {err}", fix="check the network and proxy, and try again") from None
            time.sleep(BACKOFF_S * 2 ** (attempts - 1 - left))
        else:
            return


def _request(method: str, url: str, headers: Mapping[str, str], net: _Net) -> requests.Response:
    import requests

    session = requests.Session()
    session.trust_env = False  # it would read this process's environment, not ours
    try:
        return session.request(
            method,
            url,
            headers={**_HEADERS, **headers},
            stream=True,
            timeout=(net.connect_s, net.stall_s),
            allow_redirects=True,
            proxies=_proxies(url, net.environ),
            verify=net.environ.get("REQUESTS_CA_BUNDLE") or net.environ.get("SSL_CERT_FILE") or True,
        )
    except OSError as err:  # as all errors of requests are
        raise _TryAgain(f"cannot be reached: {_words(err)}") from None


def _proxies(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies for ``url``, by scheme; lower case goes first, as in curl."""
    from requests.utils import should_bypass_proxies

    def value(name: str) -> str:
        return environ.get(name) or environ.get(name.upper()) or ""

    if should_bypass_proxies(url, value("no_proxy")):
        return {}
    return {scheme: proxy for scheme in ("http", "https", "all") if (proxy := value(f"{scheme}_proxy"))}


def _words(err: BaseException) -> str:
    """The cause at the bottom of a chain of library errors."""
    while (cause := err.__cause__ or err.__context__) is not None:
        err = cause
    return str(err).rpartition(": ")[2][:200] or type(err).__name__


def _check(url: str, answer: requests.Response) -> None:
    """Refuse what is no file: errors, and web pages that proxies and mirrors send with 200."""
    status = answer.status_code
    if status in (404, 410):
        raise Missing(f"{url}: not found ({status})", fix="check the name")
    if status >= 500 or status in (408, 429):
        raise _TryAgain(f"answered {status}")
    if status not in (200, 206):
        raise HostError(f"{url}: answered {status}", fix="check the address and proxy")
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise HostError(f"{url}: found HTML instead of tarball or data", fix="a proxy or login page is in between")


def _length(answer: requests.Response) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _within(url: str, size: int, limit: int) -> None:
    if size > limit:
        raise HostError(f"{url}: more than {limit} bytes, the most that is expected", fix="check the address")


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(CHUNK)
    except OSError as err:
        raise _TryAgain(f"the connection broke off: {_words(err)}") from None


def _whole(done: int, total: int | None) -> None:
    if total is not None and done < total:
        raise _TryAgain(f"the connection broke off after {done} of {total} bytes")


def _transfer(url: str, part: Path, limit: int, on_bytes: OnBytes | None, net: _Net) -> None:
    """One attempt: go on behind ``part`` when it is of this file, else begin anew."""
    had, tag = _resumable(url, part)
    headers = {"Range": f"bytes={had}-", "If-Range": tag} if had else {}
    with closing(_request("GET", url, headers, net)) as answer:
        if answer.status_code == 416:
            _forget(part)  # it is shorter now, or was whole: begin anew
            raise _TryAgain("the part here does not fit the file there")
        _check(url, answer)
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {had}-")
        done = had if resumed else 0
        length = _length(answer)
        total = None if length is None else done + length
        _within(url, total or 0, limit)
        _note(url, part, answer.headers.get("ETag", ""))
        with part.open("ab" if resumed else "wb") as file:
            for chunk in _chunks(answer):
                file.write(chunk)
                done += len(chunk)
                _within(url, done, limit)
                if on_bytes is not None:
                    on_bytes(done, total)
        _whole(done, total)


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(url: str, part: Path, tag: str) -> None:
    """Remember which file the part is of: without a strong validator it cannot be resumed (RFC 9110, 13.1.5)."""
    strong = tag if tag.startswith('"') else ""
    _note_path(part).write_text(json.dumps({"url": url, "etag": strong}), encoding="utf-8")


def _resumable(url: str, part: Path) -> tuple[int, str]:
    try:
        told = json.loads(_note_path(part).read_text(encoding="utf-8"))
        if told["url"] == url and isinstance(told["etag"], str) and told["etag"]:
            return part.stat().st_size, told["etag"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)
