"""The asker's side: an entry of the cache described, and read piece by piece; a token that shows whose cache it is."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.cluster.manifest import MAX_ENTRY, PIECE, Kind, Manifest, check_kind, check_path, encode
from ktstr.cluster.pieces import Place, open_file, pack, read_file, read_place
from ktstr.errors import HostError, InputError
from ktstr.files import full_or_denied, reason, write_atomic
from ktstr.host.cache import Cache, check_key
from ktstr.host.leftovers import is_unfinished
from ktstr.host.scratch import scratch

TOKENS = "cluster/tokens"  # below the cache
_TOKEN_BYTES = 32
_AGAIN = "run the command again"


def describe(cache: Cache, kind: Kind, key: str) -> Manifest:
    """The manifest of an entry, every file of which is read. What is being written in it does not count.

    Raises HostError when it is not there (any more), cannot be read, or holds what does not travel: symbolic links,
    devices, too much.
    """
    folder = cache.entry(kind, key)
    with cache.reading(kind, key):
        try:
            files = tuple(read_file(folder, path) for path in sorted(_paths(folder)))
            manifest = Manifest(kind, key, str(cache.root.absolute()), files)
            encode(manifest)
        except OSError as err:
            raise _unreadable(err, folder) from err
        except ValueError as err:
            raise HostError(f"{folder}: cannot be sent to a worker: {err}") from err
    return manifest


def read_piece(cache: Cache, kind: Kind, key: str, path: str, index: int) -> bytes:
    """A piece of an entry, packed for ``Arrivals.accept``.

    Raises InputError for what no manifest names (a worker asks), HostError when it is not there (any more).
    """
    try:
        check_kind(kind)
        check_key(key)
        check_path(path)
    except ValueError as err:
        raise InputError(f"piece of {kind}/{key}: {err}") from err
    if not 0 <= index < MAX_ENTRY // PIECE:
        raise InputError(f"{kind}/{key}/{path}: found piece {index}, expected 0 to {MAX_ENTRY // PIECE - 1}")
    folder = cache.entry(kind, key)
    with cache.reading(kind, key):
        try:
            data = read_place(Place(folder, path, index * PIECE), PIECE)
        except OSError as err:
            raise _unreadable(err, folder) from err
    if not data:
        raise HostError(f"{folder / path}: has no piece {index}: it changed while ktstr was running", fix=_AGAIN)
    return pack(data)


def _paths(folder: Path, above: str = "") -> Iterator[str]:
    """All below ``folder`` but folders, and what is being made. Raises OSError."""
    with os.scandir(folder / above) as entries:
        for entry in entries:
            if is_unfinished(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(folder, f"{above}{entry.name}/")
            else:
                yield f"{above}{entry.name}"


def _unreadable(err: OSError, folder: Path) -> HostError:
    what = err.filename or folder
    if err.errno in (errno.ENOENT, errno.ENOTDIR):
        return HostError(f"{what}: is gone from the cache", fix=_AGAIN)
    return HostError(f"{what}: cannot be sent to a worker: {reason(err)}")


@dataclass(frozen=True)
class Token:
    """A file in a cache, and the text in it that nobody can guess: whoever reads it sees the same cache."""

    path: str
    text: str


@contextmanager
def offer_token(cache: Cache) -> Iterator[Token]:
    """A new token in this cache, for the length of the block. Raises HostError when it cannot be written.

    What a killed process leaves is a folder with a lease, which ``doit cleanup`` removes.
    """
    above = cache.root.absolute() / TOKENS
    try:
        above.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise full_or_denied(err, above) from err
    with scratch(".token-", above) as folder:
        token = Token(str(folder / "token"), secrets.token_hex(_TOKEN_BYTES))
        write_atomic(Path(token.path), token.text.encode())
        yield token


def is_offered(root: Path, token: Token) -> bool:
    """Whether the cache below ``root`` on this host is the one that the token was offered in."""
    tokens = root / TOKENS
    path, text = Path(token.path), token.text
    if len(text) != 2 * _TOKEN_BYTES or ".." in path.parts or not path.is_relative_to(tokens):
        return False
    try:
        with open_file(tokens, str(path.relative_to(tokens))) as file:
            return secrets.compare_digest(file.read(len(text) + 1), text.encode())
    except (OSError, ValueError):
        return False
