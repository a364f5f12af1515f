"""What killed processes leave on this host, and how to tell it from what is in use.

Nothing is taken for left by its age or its owner's pid where a lock or a lease tells: those are taken, and held while
it is removed, so that nobody who lives can lose anything.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.columns import printable
from ktstr.errors import HostError
from ktstr.files import disk_bytes
from ktstr.host.flock import holders, is_current
from ktstr.host.lease import is_old, lapsed
from ktstr.host.orphans import end_orphan, marked
from ktstr.host.scratch import LEASE

LOCK_FILE = "lock file"
_UNFINISHED = re.compile(r"\.tmp-(.+)-\d+(-old)?")  # of a key, by a process: Cache.storing
_STAGED = re.compile(r".*\.tmp\.(\d+)\.[^/]+")  # files.staging_name
_SCRATCH = re.compile(rf"\..*[0-9a-f]{{16}}({re.escape(LEASE)})?")  # host.scratch
PIECES = "cluster/pieces"  # below a cache: what arrived of entries that are not whole yet
PIECES_KEPT_S = 86_400.0  # for a transfer that is taken up again
RESULTS = "cluster/finished"  # below a worker's cache: results that were not fetched yet
RESULTS_KEPT_S = 86_400.0  # how long nobody may ask for one
SENT = "cluster/entries"  # below a worker's cache, a cache itself: what askers sent, by its bytes
SENT_KEPT_S = 7 * 86_400.0  # since it was last used
DASK = "cluster/dask"  # below a cache: where clusters of one run have their scratch folders
_DASK_LOCK, _DASK_YOUNG_S = ".dirlock", 60.0
_TREES = ("apt", "sources", "builds", "downloads")  # classes of the cache whose entries nobody works in


@dataclass(frozen=True)
class Claim:
    """Whether the owner is gone, and else who has it. True holds for as long as the claim does."""

    gone: bool
    who: str = ""


@dataclass(frozen=True)
class Left:
    """What something is that may have been left: ``size_bytes`` of disk, 0 for a process."""

    kind: str
    name: str
    size_bytes: int = 0


@dataclass(frozen=True)
class Leftover:
    """Something that may have been left. ``claim`` finds out whether it was; ``remove``, inside it, takes it away and
    raises OSError where it cannot."""

    kind: str
    name: str
    claim: Callable[[], AbstractContextManager[Claim]]
    remove: Callable[[], None]
    size_bytes: int = 0

    @property
    def what(self) -> Left:
        return Left(self.kind, self.name, self.size_bytes)


def processes() -> Iterator[Leftover]:
    """What tethered commands of dead ktstr processes started, and those of live ones."""
    for found in sorted(marked(), key=lambda one: one.pid):
        claim = Claim(not found.owned, f"pid {found.owner}")
        yield Leftover(
            "process", printable(f"pid {found.pid} ({found.cmdline})"), _always(claim), _ending(found.pid)
        )  # fmt: skip


def leased_folders(folder: Path, prefix: str = "") -> Iterator[Leftover]:
    """Folders in ``folder`` that a lease covers, those whose names begin with ``prefix``."""
    for lease in _names(folder, lambda name: name.startswith(prefix) and name.endswith(LEASE)):
        path = lease.with_name(lease.name.removesuffix(LEASE))
        yield Leftover("folder", str(path), _lapsed(lease), _removing(path, lease), disk_bytes(path))


def unfinished_entries(cache: Path) -> Iterator[Leftover]:
    """Entries of a cache that were never finished, or half removed. A class that is a link to another cache's is that
    one's business, which has its locks."""
    for kind in (path for path in _folders(cache) if not path.is_symlink()):
        for path in _names(kind, lambda name: _UNFINISHED.fullmatch(name) is not None):
            found = _UNFINISHED.fullmatch(path.name)
            assert found is not None
            lock = cache / ".locks" / f"{kind.name}-{found[1]}.lock"
            yield Leftover("unfinished entry", str(path), _locked(lock, make=True), _removing(path), disk_bytes(path))


def staged_files(folders: Iterable[Path]) -> Iterator[Leftover]:
    """Files in these folders that were being written. Their names have the writer's pid, which may be of another
    container: one that does not run counts as gone once nothing was written for ten minutes."""
    for folder in folders:
        for path in _names(folder, lambda name: _STAGED.fullmatch(name) is not None):
            found = _STAGED.fullmatch(path.name)
            assert found is not None
            yield Leftover("unfinished file", str(path), _staged(path, int(found[1])), path.unlink, disk_bytes(path))


def is_unfinished(name: str) -> bool:
    """Whether what has this name, inside an entry of the cache, is still being made, or was left so."""
    return _STAGED.fullmatch(name) is not None or _SCRATCH.fullmatch(name) is not None


def abandoned_pieces(cache: Path, max_age_s: float = PIECES_KEPT_S) -> Iterator[Leftover]:
    """Pieces of entries that arrived here, and that nobody counted on for ``max_age_s``."""
    for path in _names(cache / PIECES, lambda name: _STAGED.fullmatch(name) is None):
        if _is_older(path, max_age_s):
            yield Leftover("abandoned piece", str(path), _always(Claim(True)), path.unlink, disk_bytes(path))


def unfetched_results(cache: Path, max_age_s: float = RESULTS_KEPT_S) -> Iterator[Leftover]:
    """Results of cells that were run here for others, and that nobody asked for in ``max_age_s``."""
    for path in _folders(cache / RESULTS):
        if _is_older(path, max_age_s):
            yield Leftover("unfetched result", str(path), _always(Claim(True)), _removing(path), disk_bytes(path))


def unused_entries(cache: Path, max_age_s: float = SENT_KEPT_S) -> Iterator[Leftover]:
    """Entries that askers sent to this host, and that no cell has used for ``max_age_s``."""
    root = cache / SENT
    for kind in _folders(root):
        for path in _folders(kind):
            if _is_older(path, max_age_s):
                lock = root / ".locks" / f"{kind.name}-{path.name}.lock"
                yield Leftover("unused entry", str(path), _locked(lock, make=True), _removing(path), disk_bytes(path))


def scratch_of_dask(cache: Path) -> Iterator[Leftover]:
    """Folders of workers that Dask made for one run. Each has a lock file beside it (``distributed.diskutils``), which
    is locked a moment after it is made: a young one is nobody's business."""
    for space in _folders(cache / DASK):
        for lock in _names(space, lambda name: name.endswith(_DASK_LOCK)):
            path = lock.with_name(lock.name.removesuffix(_DASK_LOCK))
            if _is_older(lock, _DASK_YOUNG_S):
                yield Leftover(
                    "folder", str(path), _locked(lock, make=False), _removing(path, lock), disk_bytes(path)
                )  # fmt: skip


def _is_older(path: Path, age_s: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > age_s
    except OSError:
        return False


def cache_folders(cache: Path) -> Iterator[Path]:
    """The classes of a cache, and the entries of those that are no large trees: where work is done and files staged."""
    for kind in _folders(cache):
        yield kind
        yield from () if kind.name in _TREES else _folders(kind)


def lock_files(folder: Path, prefix: str = "") -> Iterator[Leftover]:
    """Lock files that may be held. Whoever waits for one that is removed makes another (``flock.is_current``)."""
    for path in _names(folder, lambda name: name.startswith(prefix) and name.endswith(".lock")):
        yield Leftover(LOCK_FILE, str(path), _locked(path, make=False), path.unlink)


def guarded(path: Path, lock: Path) -> Leftover:
    """A folder whose user holds ``lock``."""
    return Leftover("folder", str(path), _locked(lock, make=True), _removing(path), disk_bytes(path))


def nobodys(path: Path) -> Leftover:
    """A folder that is nobody's from the moment that it has its name."""
    return Leftover("folder", str(path), _always(Claim(True)), _removing(path), disk_bytes(path))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:
        return []


def _names(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if wanted(path.name))
    except OSError:
        return []


def _always(claim: Claim) -> Callable[[], AbstractContextManager[Claim]]:
    @contextmanager
    def claimed() -> Iterator[Claim]:
        yield claim

    return claimed


def _lapsed(lease: Path) -> Callable[[], AbstractContextManager[Claim]]:
    @contextmanager
    def claimed() -> Iterator[Claim]:
        with lapsed(lease) as gone:
            yield Claim(gone, "" if gone else _lease_holder(lease))

    return claimed


def _lease_holder(lease: Path) -> str:
    """Who holds a lease: the pid that this host knows, else what the lease says."""
    for holder in holders(lease):
        if holder.pid != os.getpid():
            return f"pid {holder.pid}"
    try:
        said = json.loads(lease.read_bytes()[: 1 << 16])
        return printable(f"pid {said['pid']} of host {said['host']}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "somebody who cannot be known"


def _locked(path: Path, *, make: bool) -> Callable[[], AbstractContextManager[Claim]]:
    """Holding a lock. ``make``: its file too, where there is none, so that nobody takes the lock meanwhile."""

    @contextmanager
    def claimed() -> Iterator[Claim]:
        try:
            if make:
                path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0), 0o666)
        except PermissionError:
            yield Claim(False, "another user")
            return
        try:
            yield _flocked(fd, path)
        finally:
            os.close(fd)

    return claimed


def _flocked(fd: int, path: Path) -> Claim:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return Claim(False, ", ".join(f"pid {one.pid}" for one in holders(path)) or "somebody who cannot be known")
    return Claim(True) if is_current(fd, path) else Claim(False, "somebody who was quicker")


def _staged(path: Path, pid: int) -> Callable[[], AbstractContextManager[Claim]]:
    @contextmanager
    def claimed() -> Iterator[Claim]:
        try:
            old = is_old(path.stat().st_mtime)
        except OSError:
            old = False
        alive = Path(f"/proc/{pid}").exists()
        who = f"pid {pid}" if alive else f"pid {pid}, of another container if it lives: it was written to just now"
        yield Claim(old and not alive, who)

    return claimed


def _removing(*paths: Path) -> Callable[[], None]:
    """Remove folders or files, in order; what vanished meanwhile is removed too."""

    def remove() -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return remove


def _ending(pid: int) -> Callable[[], None]:
    def end() -> None:
        end_orphan(pid)

    return end


@dataclass(frozen=True)
class Cleaned:
    """What came of each: it went (or would go), somebody has it, or it could not be removed, and why."""

    removed: tuple[Left, ...]
    in_use: tuple[tuple[Left, str], ...]
    failed: tuple[tuple[Left, str], ...]


def clean(found: Iterable[Leftover], *, dry_run: bool) -> Cleaned:
    """Take away what was left; an error with one does not stop the others. With ``dry_run`` nothing is removed."""
    removed: list[Left] = []
    in_use: list[tuple[Left, str]] = []
    failed: list[tuple[Left, str]] = []
    for left in found:
        try:
            with left.claim() as claim:
                if not claim.gone:
                    in_use.append((left.what, claim.who))
                    continue
                if not dry_run:
                    left.remove()
            removed.append(left.what)
        except FileNotFoundError:
            continue  # another one removed it
        except (OSError, HostError) as err:
            failed.append((left.what, getattr(err, "strerror", None) or str(err)))
    return Cleaned(tuple(removed), tuple(in_use), tuple(failed))
