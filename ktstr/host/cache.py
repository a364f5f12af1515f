"""The cache on disk: where it is, its locks, and storing an entry in one step.

Layout: ``kernels/KEY/``, ``tools/KEY/``, ``apt/SUITE/`` and ``.locks/KIND-KEY.lock``; ``cluster/`` is of transfers
between hosts. An entry appears by rename, complete or not at all; what a killed process left is swept by the next
writer of the same key.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host.flock import locked

WRITE_S = 300.0
READ_S = 10.0
_SYNC_EACH = 64  # files; of a tree with more, the filesystem is flushed at once
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~=@-]{0,199}")


def cache_root(environ: Mapping[str, str]) -> Path:
    """The cache's folder: ``KTSTR_CACHE_DIR``, else ``$XDG_CACHE_HOME/ktstr``, else ``$HOME/.cache/ktstr``.

    Raises HostError when HOME would decide and is unset, empty, ``/`` or relative.
    """
    if own := environ.get("KTSTR_CACHE_DIR"):
        return Path(own).absolute()
    xdg = environ.get("XDG_CACHE_HOME", "")
    if xdg.startswith("/"):  # the XDG specification: relative paths are ignored
        return Path(xdg) / "ktstr"
    home = environ.get("HOME")
    wrong = {None: "is not set", "": "is empty", "/": "is /, which is no home"}.get(home)
    if wrong is None and home is not None and not home.startswith("/"):
        wrong = f"is {home!r}, a relative path"
    if wrong or home is None:
        raise HostError(f"no place for the cache: HOME {wrong}", fix="set KTSTR_CACHE_DIR to a folder on a local disk")
    return Path(home) / ".cache" / "ktstr"


def check_key(key: str) -> str:
    """Give ``key`` back. Raises ValueError for one that is no plain folder name."""
    if not _KEY.fullmatch(key) or ".." in key:
        raise ValueError(f"{key!r} is no cache key")
    return key


@dataclass(frozen=True)
class Cache:
    """The cache below ``root``. Folders are made on the first store; ``kind`` is ``kernels`` or ``tools``.

    ``cancel`` ends waits for its locks, and refuses them once it is set: nothing new is begun.
    """

    root: Path
    cancel: Cancel = field(default_factory=Cancel, compare=False, repr=False)

    def entry(self, kind: str, key: str) -> Path:
        """Where the entry is or will be."""
        return self.root / kind / check_key(key)

    @property
    def apt(self) -> Path:
        return self.root / "apt"

    def lock_file(self, kind: str, key: str) -> Path:
        return self.root / ".locks" / f"{kind}-{check_key(key)}.lock"

    def writing(self, kind: str, key: str, timeout_s: float = WRITE_S) -> AbstractContextManager[None]:
        """Hold the exclusive lock on an entry. HostError names the holders on timeout; Cancelled as ``locked``."""
        return locked(self.lock_file(kind, key), exclusive=True, timeout_s=timeout_s, cancel=self.cancel)

    def reading(self, kind: str, key: str, timeout_s: float = READ_S) -> AbstractContextManager[None]:
        """Hold the shared lock on an entry: nobody replaces or removes it. HostError names the holders on timeout.

        In a cache this user cannot write no lock can be made, and none is needed to keep himself from replacing it.
        Cancelled as ``locked``.
        """
        if not _writable(self.lock_file(kind, key)):
            return nullcontext()
        return locked(self.lock_file(kind, key), exclusive=False, timeout_s=timeout_s, cancel=self.cancel)

    @contextmanager
    def storing(self, kind: str, key: str) -> Iterator[Path]:
        """A folder to fill; on a clean exit it becomes the entry, on an exception it vanishes.

        The caller holds ``writing``. An entry already there is replaced. OSErrors of the block
        become HostError with the path and the fix.
        """
        final = self.entry(kind, key)
        temp = final.with_name(f".tmp-{key}-{os.getpid()}")
        try:
            _sweep(final)
            temp.mkdir(parents=True)
            yield temp
            _sync(temp)
            _swap(temp, final)
        except OSError as err:
            if isinstance(err.errno, int):
                raise full_or_denied(err, final) from err
            raise
        finally:
            shutil.rmtree(temp, ignore_errors=True)


def _writable(path: Path) -> bool:
    """Whether ``path`` can be opened for writing, or made in the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)


def _sweep(final: Path) -> None:
    """Remove what killed writers of this key left; safe because the caller holds its exclusive lock."""
    stale = re.compile(rf"\.tmp-{re.escape(final.name)}-\d+(-old)?")
    if final.parent.is_dir():
        for path in final.parent.iterdir():
            if stale.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Flush every file and folder, so that a power cut cannot leave a complete-looking entry of holes."""
    paths = [folder, *itertools.islice((p for p in folder.rglob("*") if not p.is_symlink()), _SYNC_EACH + 1)]
    if len(paths) > _SYNC_EACH:
        _flush(folder, _syncfs)
        return
    for path in paths:
        _flush(path, os.fsync)


def _flush(path: Path, flush: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush(fd)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def _syncfs(fd: int) -> None:
    """syncfs(2): one call for a kernel tree, where 80,000 fsyncs take 20 seconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _swap(temp: Path, final: Path) -> None:
    """Make ``temp`` the entry. One already there changes places with it, so that a kill or an error at any moment
    leaves either entry whole; the caller removes what ``temp`` then is."""
    if not final.exists():
        temp.rename(final)
        return
    try:
        _exchange(temp, final)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
        _replace(temp, final)


def _exchange(one: Path, other: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE. EINVAL: this filesystem has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = ctypes.c_int(-100)  # AT_FDCWD; it does not count with absolute paths
    flag = ctypes.c_uint(2)  # RENAME_EXCHANGE
    if libc.renameat2(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), flag) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))


def _replace(temp: Path, final: Path) -> None:
    """Two renames, with a moment without an entry between them: a kill then is a miss."""
    old = final.with_name(temp.name + "-old")
    final.rename(old)
    try:
        temp.rename(final)
    except OSError:
        old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)
