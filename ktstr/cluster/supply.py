"""Sending workers what jobs need: entries of the asker's cache, each to each worker at most once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from ktstr.cells.job import ArtifactRef, ArtifactStore
from ktstr.cluster import manifest
from ktstr.cluster.artifacts import Token, describe, read_piece
from ktstr.cluster.manifest import Manifest
from ktstr.cluster.wire import Need, Offered
from ktstr.errors import HostError


class Lost(HostError):
    """A worker, or the scheduler, is gone."""


class Line(Protocol):
    """Calls to one worker. Each raises HostError with the worker's own words, Lost when it is gone."""

    @property
    def name(self) -> str: ...

    def offer(self, manifest: bytes, token: Token) -> Offered: ...

    def send(self, manifest: str, digest: str, data: bytes) -> None: ...

    def finish(self, manifest: str) -> None: ...


class Supply:
    """What the asker has. ``say`` is told what is sent, and to whom. Safe from any thread."""

    def __init__(self, artifacts: ArtifactStore, token: Token, say: Callable[[str], None]) -> None:
        self._artifacts, self._token, self._say = artifacts, token, say
        self._manifests: dict[ArtifactRef, Manifest] = {}
        self._busy: dict[tuple[str, ArtifactRef], threading.Lock] = {}
        self._lock = threading.Lock()

    def needs(self, refs: tuple[ArtifactRef, ...]) -> tuple[Need, ...]:
        """What a worker has to have, by the digests of all its bytes. Raises HostError for what is not here."""
        return tuple(Need(ref, self._manifest(ref).digest) for ref in refs)

    def _held(self, address: str, ref: ArtifactRef) -> threading.Lock:
        """Held by who describes an artifact, or sends it to that worker: others wait, and find it done."""
        with self._lock:
            return self._busy.setdefault((address, ref), threading.Lock())

    def _manifest(self, ref: ArtifactRef) -> Manifest:
        with self._held("", ref):
            if ref not in self._manifests:
                self._manifests[ref] = describe(self._artifacts.cache_of(ref), ref.kind, ref.key)
            return self._manifests[ref]

    def bring(self, refs: tuple[ArtifactRef, ...], address: str, line: Line) -> None:
        """Have these at a worker. Raises as ``Line``."""
        for ref in refs:
            with self._held(address, ref):
                self._bring(ref, line)

    def _bring(self, ref: ArtifactRef, line: Line) -> None:
        whole = self._manifest(ref)
        data = manifest.encode(whole)
        offered = line.offer(data, self._token)
        if offered.found == "different":
            differing = ", ".join(offered.differing[:3])
            self._say(f"{line.name}: its {ref.kind}/{ref.key} is not what was sent ({differing}): replaced")
        if offered.whole:
            return
        size = sum(whole.pieces[piece.digest].size for piece in offered.pieces if piece.digest in whole.pieces)
        self._say(f"{line.name}: is sent {ref.kind}/{ref.key}, {size / 1e6:.1f} MB")
        self._send(ref, whole, offered, line)
        try:
            line.finish(whole.digest)
        except Lost:
            raise
        except HostError:  # another process of that host had counted on one of its pieces, and used it up
            self._send(ref, whole, line.offer(data, self._token), line)
            line.finish(whole.digest)

    def _send(self, ref: ArtifactRef, whole: Manifest, offered: Offered, line: Line) -> None:
        cache = self._artifacts.cache_of(ref)
        for piece in offered.pieces:
            if piece.digest not in whole.pieces:
                raise HostError(f"{line.name}: wants a piece that {ref.kind}/{ref.key} does not have")
            line.send(whole.digest, piece.digest, read_piece(cache, ref.kind, ref.key, piece.path, piece.index))
