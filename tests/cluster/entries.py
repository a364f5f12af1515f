"""An asker's cache with an entry, and how its pieces come to a worker's."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from ktstr.cluster.arrival import Arrivals
from ktstr.cluster.artifacts import read_piece
from ktstr.cluster.manifest import Manifest, Piece
from ktstr.host.cache import Cache

MIB = 1 << 20
BIG = "usr/share/big"
# 9 MiB that do not compress: pieces of 4, 4 and 1 MiB.
CONTENT = {
    BIG: random.Random(1).randbytes(9 * MIB),
    "usr/bin/run": b"#!/bin/sh\n" * 1000,
    "empty": b"",
    "tool.json": b"{}",
}
PIECES = 5


def store(cache: Cache, kind: str = "tools", key: str = "k") -> Path:
    """The entry above, as ktstr would make it."""
    with cache.writing(kind, key), cache.storing(kind, key) as folder:
        for path, data in CONTENT.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        (folder / "usr/bin/run").chmod(0o755)
    return cache.entry(kind, key)


def send(asker: Cache, arrivals: Arrivals, manifest: Manifest, pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        data = read_piece(asker, manifest.kind, manifest.key, piece.path, piece.index)
        arrivals.accept(manifest, piece.digest, data)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(cache: Cache) -> list[str]:
    """Names of what is kept of transfers."""
    folder = cache.root / "cluster/pieces"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
