"""Git repositories of a few files that look like a kernel tree, and a server for them."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

FILES = {"Makefile": "VERSION = 6\n", "Kconfig": "\n", "kernel/sched/core.c": "int x;\n", ".gitignore": ".*\n*.o\n"}
WHO = pygit2.Signature("t", "t@example.org", 1_700_000_000, 0)


def make_repository(path: Path, *, bare: bool = False) -> pygit2.Repository:
    return pygit2.init_repository(str(path), bare=bare, initial_head="main")


def commit_files(
    repository: pygit2.Repository, files: Mapping[str, str] = FILES, ref: str = "HEAD", submodule: str | None = None
) -> str:
    """Commit ``files`` over what ``ref`` holds, into the working tree too; gives the commit's hash."""
    parents = [] if ref == "HEAD" and repository.head_is_unborn else [repository.revparse_single(ref).id]
    index = repository.index
    for name, text in files.items():
        if repository.is_bare:
            index.add(pygit2.IndexEntry(name, repository.create_blob(text.encode()), FileMode.BLOB))
        else:
            file = Path(repository.workdir) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            index.add(name)
    if submodule is not None:
        index.add(pygit2.IndexEntry(submodule, pygit2.Oid(hex="1" * 40), FileMode.COMMIT))
    if not repository.is_bare:
        index.write()
    return str(repository.create_commit(ref, WHO, WHO, "x", index.write_tree(), parents))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    requests: list[str]

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._run(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._run(body)

    def _run(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        self.requests.append(f"{self.command} {path}")
        environ = {
            **{"GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path},
            **{"QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(body))},
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, capture_output=True, env={**os.environ, **environ}, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))  # libgit2 takes none for an empty body
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the bare repositories below ``root`` by git's own HTTP server: its address, and what it is asked."""
    requests: list[str] = []
    handler = type("_Here", (_Handler,), {"root": root, "requests": requests})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
