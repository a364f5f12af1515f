"""A web server on loopback that does to a transfer what networks do."""

from __future__ import annotations

import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Web:
    """What is served, by path, and what goes wrong: each request of a path takes the next of its ``faults``.

    Faults: ``cut N`` and ``stall N`` break off, or fall silent, after N bytes; ``slow`` sends in small pieces;
    ``503`` and the like answer that; ``html`` sends a page; ``lie`` answers 206 with another range; ``first N`` sends
    at most N bytes of the range asked for; ``unasked N`` answers 206 from byte N, whatever was asked; ``to URL``
    sends the client there. ``fields`` are more header fields, by path.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    scheme: str = "http"
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[str]:
        """The Range fields of the requests for a path, empty for none."""
        return [span for _, name, span in self.seen if name == path]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        web, path, span = self.web, self.path, self.headers.get("Range", "")
        web.seen.append((self.command, path, span))
        self.close_connection = True
        fault = web.faults[path].pop(0) if web.faults.get(path) else ""
        if fault.isdecimal():
            return self._send(int(fault), b"", {})
        if fault == "html":
            return self._send(200, b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"})
        if fault.startswith("to "):
            return self._send(302, b"", {"Location": fault[3:]})
        if path not in web.files:
            return self._send(404, b"<html>nothing</html>", {"Content-Type": "text/html"})
        body, tag = web.files[path], web.etags.get(path, "")
        fields = {**web.fields.get(path, {}), **({"ETag": tag} if tag else {})}
        kind, _, size = fault.partition(" ")
        begin = int(size) if kind == "unasked" else self._begin(span, tag)
        if begin is None:
            return self._send(200, body, fields, fault)
        if begin >= len(body):
            return self._send(416, b"", {})
        told = 0 if fault == "lie" else begin
        end = min(told + int(size), len(body)) if kind == "first" else len(body)
        fields["Content-Range"] = f"bytes {told}-{end - 1}/{len(body)}"
        return self._send(206, body[told:end], fields, fault)

    def _begin(self, span: str, tag: str) -> int | None:
        """Where to begin, by RFC 9110: None for the whole file."""
        found = re.fullmatch(r"bytes=(\d+)-", span)
        if found is None or not self.web.ranges or self.headers.get("If-Range", tag) != tag:
            return None
        return int(found[1])

    def _send(self, status: int, body: bytes, fields: dict[str, str], fault: str = "") -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in fields.items():
            self.send_header(name, value)
        if self.web.lengths and "Content-Length" not in fields:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        kind, _, size = fault.partition(" ")
        if kind in ("cut", "stall"):
            self.wfile.write(body[: int(size)])
            self.wfile.flush()
            if kind == "stall":
                self.web.over.wait(20)
        elif kind == "slow":
            for at in range(0, len(body), len(body) // 8 + 1):
                self.wfile.write(body[at : at + len(body) // 8 + 1])
                self.web.over.wait(0.05)
        else:
            self.wfile.write(body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    web = Web(scheme="https" if tls else "http")
    server = _Server(("127.0.0.1", 0), type("_Here", (_Handler,), {"web": web}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
