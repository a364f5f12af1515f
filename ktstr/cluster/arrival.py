"""The worker's side: what an entry lacks here, its pieces as they arrive, and the entry put together from them.

Any number of threads and processes may do so for the same entry at once: pieces appear by rename, an entry under its
lock, and who comes second finds it whole. Nothing is believed: each byte that goes into an entry is digested here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from ktstr.cluster.artifacts import Token, is_offered
from ktstr.cluster.manifest import EntryFile, Manifest, Piece
from ktstr.cluster.pieces import Missing, Place, fetch, unpack, verified
from ktstr.cluster.standing import Standing, look_at, stamp_of
from ktstr.errors import InputError
from ktstr.files import write_atomic
from ktstr.host.cache import WRITE_S, Cache
from ktstr.host.leftovers import PIECES, PIECES_KEPT_S, abandoned_pieces, clean, staged_files


@dataclass(frozen=True)
class Lacking:
    """What is in the place of an entry: the ``whole`` of it, nothing (``absent``), or something ``different``: then
    ``differing`` are the files of the manifest that are missing, damaged or others. ``pieces`` have to be sent, each
    different one once."""

    found: Literal["whole", "absent", "different"]
    differing: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()


class Arrivals:
    """What arrives in a cache. One for each process; safe for threads.

    It remembers which entries it has verified, for as long as none of their files is touched.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._pieces = cache.root / PIECES
        self._verified: dict[str, tuple[object, ...]] = {}  # by a manifest's digest: the stamp of its files then
        self._awaited: dict[str, Collection[str]] = {}  # by a manifest's digest: its pieces
        self._lock = threading.Lock()  # of what is awaited

    def lacking(self, manifest: Manifest) -> Lacking:
        """What has to be sent. Pieces of an interrupted transfer are there, and so are those of a damaged entry.

        Raises HostError when somebody is writing the entry for too long.
        """
        with self._cache.reading(manifest.kind, manifest.key, WRITE_S):  # others may be putting it together
            look = self._look(manifest)
        if not look.differing:
            return Lacking("whole")
        self._await(manifest)
        pieces = [piece for digest, piece in manifest.pieces.items() if digest not in look.places]
        wanted = tuple(piece for piece in pieces if not self._is_kept(piece))
        return Lacking("different" if look.any_file else "absent", look.differing, wanted)

    def accept(self, manifest: Manifest, digest: str, data: bytes) -> None:
        """Keep a piece as ``read_piece`` gave it, until ``finish``.

        Raises InputError for one that the manifest does not name; HostError for one that is not what its digest says,
        and when it cannot be written.
        """
        piece = manifest.pieces.get(digest)
        if piece is None:
            raise InputError(f"{manifest.name}: found the piece {digest[:64]!r}, which its manifest does not name")
        self._await(manifest)
        write_atomic(self._pieces / digest, unpack(data, piece), setting="KTSTR_CACHE_DIR")

    def finish(self, manifest: Manifest) -> Path:
        """Put the entry together, unless it is whole; gives its folder. The pieces are gone that only it needed.

        Waits for those who read an entry that is replaced. Raises HostError when a piece is missing or was damaged
        (``lacking`` says which), the disk is full, or somebody has the entry for too long.
        """
        with self._cache.writing(manifest.kind, manifest.key):
            look = self._look(manifest)
            if look.differing:
                self._assemble(manifest, look.places)
        self._forget(manifest)
        return self._folder(manifest)

    def copy_shared(self, manifest: Manifest, key: str, token: Token) -> bool:
        """Have the entry from the asker's own cache, where its key is ``key``, if this host sees it: the asker's token
        is in it.

        False when it does not, or the entry is not there as the manifest has it: then its pieces have to be sent.
        Where both have one cache nothing is copied. Raises HostError as ``finish``.
        """
        root = Path(manifest.root)
        if not is_offered(root, token):
            return False
        if self.lacking(manifest).found != "whole" and not self._copied(manifest, root / manifest.kind / key):
            return False
        self._forget(manifest)
        return True

    def _copied(self, manifest: Manifest, source: Path) -> bool:
        """The asker's locks may be of no use here (another host's), and are not needed: each piece is verified."""
        if _is_same(source, self._folder(manifest)):
            return False
        with self._cache.writing(manifest.kind, manifest.key):
            look = self._look(manifest)
            try:
                if look.differing:
                    self._store(manifest, lambda piece: (Place(source, piece.path, piece.offset),))
            except Missing:
                return False
        return True

    def sweep(self, max_age_s: float = PIECES_KEPT_S) -> int:
        """Remove the pieces of abandoned transfers, those that nobody counted on for so long, and what killed
        processes left of some; gives their number."""
        left = chain(abandoned_pieces(self._cache.root, max_age_s), staged_files((self._pieces,)))
        return len(clean(left, dry_run=False).removed)

    def _folder(self, manifest: Manifest) -> Path:
        return self._cache.entry(manifest.kind, manifest.key)

    def _look(self, manifest: Manifest) -> Standing:
        """What is there now. The caller holds a lock on the entry."""
        folder = self._folder(manifest)
        stamp = stamp_of(folder, manifest.files)
        if stamp is not None and self._verified.get(manifest.digest) == stamp:
            return Standing()
        look = look_at(folder, manifest.files)
        if stamp is not None and not look.differing:
            self._verified[manifest.digest] = stamp
        return look

    def _store(self, manifest: Manifest, places: Callable[[Piece], Iterable[Place]]) -> None:
        """The caller holds the entry's exclusive lock."""
        with self._cache.storing(manifest.kind, manifest.key) as out:
            for file in manifest.files:
                self._cache.cancel.check()
                _write(out / file.path, file, places)
        if (stamp := stamp_of(self._folder(manifest), manifest.files)) is not None:
            self._verified[manifest.digest] = stamp

    def _assemble(self, manifest: Manifest, there: Mapping[str, Place]) -> None:
        def places(piece: Piece) -> list[Place]:
            return [self._kept(piece), *([there[piece.digest]] if piece.digest in there else [])]

        try:
            self._store(manifest, places)
        except Missing:
            self._drop_damaged(manifest)
            raise

    def _drop_damaged(self, manifest: Manifest) -> None:
        """Whatever was kept and is not what its name says, so that it is lacking from now on."""
        for piece in manifest.pieces.values():
            if verified(self._kept(piece), piece) is None:
                self._unlink(piece.digest)

    def _unlink(self, digest: str) -> None:
        with suppress(OSError):
            (self._pieces / digest).unlink(missing_ok=True)

    def _kept(self, piece: Piece) -> Place:
        return Place(self._pieces, piece.digest)

    def _is_kept(self, piece: Piece) -> bool:
        """Whether it arrived before. It is young again then: somebody counts on it."""
        path = self._pieces / piece.digest
        try:
            os.utime(path)
            return path.stat().st_size == piece.size
        except OSError:
            return False

    def _await(self, manifest: Manifest) -> None:
        with self._lock:
            self._awaited[manifest.digest] = manifest.pieces.keys()

    def _forget(self, manifest: Manifest) -> None:
        """Remove the pieces that no other entry awaits in this process. One that another process wanted is lacking
        there, and sent again."""
        with self._lock:
            self._awaited.pop(manifest.digest, None)
            for digest in manifest.pieces.keys() - set().union(*self._awaited.values()):
                self._unlink(digest)


def _write(target: Path, file: EntryFile, places: Callable[[Piece], Iterable[Place]]) -> None:
    """Raises OSError; Missing for a piece that is at none of its places."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        for piece in file.pieces():
            out.write(fetch(piece, places(piece)))
    target.chmod(file.mode)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
