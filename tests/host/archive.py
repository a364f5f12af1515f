"""A Debian archive on the loopback interface, and a machine whose apt is configured for it."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.host.apt import Apt

FIRST_EDITION = 1_700_000_000


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        super().do_GET()


@dataclass
class Archive:
    """``serve`` publishes packages; ``requests`` are the paths asked for; ``machine`` is an Apt that uses it."""

    folder: Path
    work: Path
    server: _Server
    trusted: bool = True
    edition: int = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/debian"

    @property
    def requests(self) -> list[str]:
        return self.server.requests

    def deb(self, name: str, version: str, files: Mapping[str, bytes | Path], depends: str = "") -> Path:
        """Make a package and put it into the pool; a Path among ``files`` is a symbolic link's target."""
        tree = self.work / f"{name}-{version}"
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: t <t@example.org>\n"
        control += (f"Depends: {depends}\n" if depends else "") + "Description: made by a test\n"
        for place, content in {"DEBIAN/control": control.encode(), **files}.items():
            path = tree / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_bytes(content)
                path.chmod(0o755)
        pool = self.folder / "pool" / f"{name}_{version}_amd64.deb"
        pool.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(pool)], check=True, stdout=-3)
        return pool

    def serve(self, suite: str, *debs: Path, more: str = "") -> None:
        """Write the suite's lists so that it holds exactly ``debs``; ``more`` are lines of its Release file."""
        stanzas = []
        for deb in debs:
            shown = subprocess.run(["dpkg-deb", "-f", str(deb)], check=True, capture_output=True, text=True).stdout
            raw = deb.read_bytes()
            place = deb.relative_to(self.folder)
            digest = hashlib.sha256(raw).hexdigest()
            stanzas.append(f"{shown.rstrip()}\nFilename: {place}\nSize: {len(raw)}\nSHA256: {digest}\n")
        dist = self.folder / "dists" / suite
        packages = dist / "main/binary-amd64/Packages"
        packages.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(stanzas).encode()
        packages.write_bytes(text)
        self.edition += 1
        release = dist / "Release"
        release.write_text(
            f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n{more}"
            f"Date: Thu, 01 Jan 2026 00:00:{self.edition:02} UTC\n"
            f"SHA256:\n {hashlib.sha256(text).hexdigest()} {len(text)} main/binary-amd64/Packages\n"
        )
        for path in (packages, release):  # apt asks for what changed since, in whole seconds
            os.utime(path, (FIRST_EDITION + self.edition,) * 2)

    def machine(self, root: Path, *, offline: bool = False, source: str | None = None) -> Apt:
        """apt with this archive as the machine's only Debian source."""
        etc = self.work / "etc"
        etc.mkdir(exist_ok=True)
        option = "[trusted=yes] " if self.trusted else ""
        line = f"deb {option}{self.uri} bookworm main\n" if source is None else source
        (etc / "sources.list").write_text(line)
        override = etc / "apt.conf"
        override.write_text(f'Dir::Etc::sourcelist "{etc}/sources.list";\nDir::Etc::sourceparts "{etc}/none";\n')
        return Apt(root, offline, {**os.environ, "APT_CONFIG": str(override), "no_proxy": "127.0.0.1"})


@contextmanager
def serving(tmp: Path) -> Iterator[Archive]:
    """An empty archive below ``tmp``, served until the block ends."""
    web, work = tmp / "web", tmp / "work"
    (web / "debian").mkdir(parents=True)
    work.mkdir()
    server = _Server(web)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Archive(web / "debian", work, server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
