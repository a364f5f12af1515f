"""The machines that have been parked, in the cache: each made once, kept compressed under a limit, verified when it
is opened, and unpacked only while somebody holds it.

What is in use has two locks. That of class ``machines`` keeps an entry from changing while it is made or read, which
takes a second or two; ``machines-in-use`` keeps it from being removed for space while a machine of it is held. A
holder needs no file any more, so that a damaged entry can be made anew meanwhile.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ktstr.errors import HostError, InputError
from ktstr.files import disk_bytes, refused
from ktstr.host.cache import Cache, check_key
from ktstr.vm.snapshot import Parked, Snapshot, Unparked, seal, sealed_file

if TYPE_CHECKING:
    from ktstr.vm.snapshot_files import Identity

KIND = "machines"  # its class in the cache
LIMIT_GIB = 8  # of disk, for all of them
KEEP_OPEN = 2  # that nobody holds

_IN_USE = "machines-in-use"
_MAKE_S = 3600.0  # a large scheduler may load for minutes, on a busy host for many
_POLL_S = 0.1
_UNFINISHED = re.compile(r"\.tmp-(.+)-\d+(-old)?")  # of a key, by a process: Cache.storing

Machine: TypeAlias = Snapshot | Unparked
T = TypeVar("T")


def limit_bytes(environ: Mapping[str, str]) -> int:
    """How much of the cache's disk parked machines may take: KTSTR_MACHINES_GIB, else 8. Raises InputError for what
    is no number of GiB."""
    given = environ.get("KTSTR_MACHINES_GIB") or str(LIMIT_GIB)
    if not re.fullmatch(r"[0-9]{1,6}", given):
        raise InputError(f"KTSTR_MACHINES_GIB={given}: expected a whole number of GiB", fix="unset it: then 8")
    return int(given) << 30


class _TooLarge(Exception):
    """An entry that alone takes more than the limit, in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


@dataclass
class _Held:
    """One machine in this process. ``turn``: whose it is to open or make it."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    machine: Machine | None = None

    def close(self) -> None:
        if isinstance(self.machine, Snapshot):
            self.machine.close()
        self.machine = None


@dataclass(frozen=True)
class _Wanted:
    """``name``: what people call it."""

    key: str
    name: str
    make: Callable[[], Parked | Unparked]


class SnapshotStore:
    """The parked machines of a cache, for all threads of a process.

    ``limit_bytes``: of disk, over which those unused longest go. ``keep_open``: how many stay unpacked when nobody
    holds them. ``on_note`` is told, once each, what does not stop anything but should be known: a damaged entry, a
    full disk, a machine too large to keep. It is called from any thread.
    """

    def __init__(
        self,
        cache: Cache,
        limit_bytes: int = LIMIT_GIB << 30,
        keep_open: int = KEEP_OPEN,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self.cache = cache
        self.limit_bytes = limit_bytes
        self._keep_open = keep_open
        self._on_note = on_note
        self._lock = threading.Lock()  # of all below
        self._held: dict[str, _Held] = {}  # the longest unused first
        self._ended: dict[str, Unparked] = {}  # what became of machines that could not be parked, in this process
        self._noted: set[str] = set()

    def metadata(self, key: str) -> Path:
        """The file that is there once the machine is made."""
        return self.cache.entry(KIND, key) / "metadata.json"

    def is_made(self, key: str) -> bool:
        """Whether it is in the cache. Nothing is read: it may turn out damaged."""
        return self.metadata(key).is_file()

    @contextmanager
    def holding(self, key: str, make: Callable[[], Parked | Unparked], name: str) -> Iterator[Machine]:
        """The machine of ``key``, which stays open for the length of the block; do not close it.

        It is the one this process has open, else read from the cache, else made: once for all threads and
        processes. What cannot be stored is used all the same. An Unparked that is not ``lasting`` is not stored: it
        stands for this store alone, unless it was cancelled.

        Raises what ``make`` raises; HostError when the host has no memory or descriptors left, or a machine that was
        parked stays mapped; ValueError for RAM that is not whole pages or cannot be sealed; Cancelled when the
        cache's cancel is set while it waits.
        """
        wanted = _Wanted(check_key(key), name, make)
        held = self._enter(key)
        try:
            with ExitStack() as in_use:
                with suppress(HostError):  # without the lock it might go from the disk: nothing but time is lost
                    in_use.enter_context(self.cache.reading(_IN_USE, key))
                yield self._obtained(held, wanted)
        finally:
            self._leave(key, held)

    def close(self) -> None:
        """Close what nobody holds; what is held goes when it is let go."""
        self._keep_open = 0
        self._close_idle()

    def _enter(self, key: str) -> _Held:
        with self._lock:
            held = self._held.pop(key, None) or _Held()
            self._held[key] = held
            held.users += 1
            return held

    def _leave(self, key: str, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            self._held[key] = self._held.pop(key)
            if held.machine is None and held.users == 0:
                del self._held[key]
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle = [key for key, held in self._held.items() if held.users == 0]
            for key in idle[: max(len(idle) - self._keep_open, 0)]:
                self._held.pop(key).close()

    def _obtained(self, held: _Held, wanted: _Wanted) -> Machine:
        while not held.turn.acquire(timeout=_POLL_S):
            self.cache.cancel.check()
        try:
            machine = held.machine or self._ended.get(wanted.key) or self._read(wanted.key) or self._made(wanted)
            if isinstance(machine, Snapshot):
                held.machine = machine
            elif machine.end is None or machine.end.reason != "killed":  # nobody waits for what was cancelled
                self._ended[wanted.key] = machine
        finally:
            held.turn.release()
        with suppress(OSError):
            os.utime(self.cache.entry(KIND, wanted.key))  # used now: not the oldest
        return machine

    def _read(self, key: str) -> Machine | None:
        """What the cache has, after whoever makes it has ended."""
        with self._locked(self.cache.reading(KIND, key, _MAKE_S)):
            return self._read_entry(key)

    def _read_entry(self, key: str) -> Machine | None:
        # Planning asks only whether a machine is made, and a graph without work to do must load fast.
        from ktstr.vm.snapshot_files import read_machine
        from ktstr.vm.snapshot_ram import Damaged

        folder = self.cache.entry(KIND, key)
        try:
            return read_machine(folder)
        except Damaged as err:
            self._note(f"{folder}: damaged: {err}; the machine is made anew")
            return None

    def _made(self, wanted: _Wanted) -> Machine:
        """Made now, unless another process was quicker."""
        with self._locked(self.cache.writing(KIND, wanted.key, _MAKE_S)) as locked:
            return self._read_entry(wanted.key) or self._kept(wanted, wanted.make(), locked)

    @contextmanager
    def _locked(self, lock: AbstractContextManager[None]) -> Iterator[bool]:
        """Whether the lock could be had. Without it nothing may be stored."""
        with ExitStack() as held:
            try:
                held.enter_context(lock)
                locked = True
            except HostError as err:
                self._note(f"{err.message}; machines are made anew for each run")
                locked = False
            yield locked

    def _kept(self, wanted: _Wanted, parked: Parked | Unparked, locked: bool) -> Machine:
        """What was made, stored if it can be."""
        from ktstr.vm import snapshot_files

        identity = snapshot_files.Identity(wanted.key, wanted.name)
        if isinstance(parked, Parked):
            return self._kept_open(wanted, parked, identity if locked else None)
        if locked and parked.lasting:
            self._store(wanted, lambda folder: snapshot_files.write_unparked(folder, identity, parked))
        return parked

    def _kept_open(self, wanted: _Wanted, parked: Parked, identity: Identity | None) -> Snapshot:
        """Sealed, and stored as ``identity``, if that is given. The descriptors are closed on any error."""
        from ktstr.vm.snapshot_files import facts_of, write_snapshot
        from ktstr.vm.snapshot_ram import digest_of

        with ExitStack() as owned:
            for fd in parked.memory:
                owned.callback(os.close, fd)
            try:
                for fd in parked.memory:
                    seal(fd)
                state = sealed_file("ktstr-state", parked.state)
                owned.callback(os.close, state)
                facts = None
                if identity is not None:
                    facts = self._store(wanted, lambda folder: write_snapshot(folder, identity, parked))
                facts = facts or facts_of(parked, digest_of(parked.memory))
            except OSError as err:
                raise refused(err, self.metadata(wanted.key).parent, None) from err
            owned.pop_all()
        return Snapshot(facts, parked.memory, state, channel=parked.channel, console=parked.console)

    def _store(self, wanted: _Wanted, write: Callable[[Path], T]) -> T | None:
        """Store what ``write`` fills a folder with, and give what it gives; None, and a note, where that cannot be."""
        try:
            with self.cache.storing(KIND, wanted.key) as folder:
                written = write(folder)
                if (size := disk_bytes(folder)) > self.limit_bytes:
                    raise _TooLarge(size)
        except HostError as err:
            self._note(f"{err.message}; the machine {wanted.name} is not kept")
            return None
        except _TooLarge as err:
            self._note(
                f"the machine {wanted.name} takes {_mib(err.size)} of disk and is not kept:"
                f" the limit for all machines is {_mib(self.limit_bytes)}"
            )
            return None
        self._tidy()
        return written

    def _tidy(self) -> None:
        """Remove what killed processes left half made, of whatever key, and what is over the limit. What this
        process has just stored is safe: it still holds that lock."""
        whole: list[Path] = []
        for path in tuple((self.cache.root / KIND).iterdir()):
            if not path.name.startswith("."):
                whole.append(path)
            elif unfinished := _UNFINISHED.fullmatch(path.name):
                self._remove(path, unfinished[1])
        sizes = {path: disk_bytes(path) for path in sorted(whole, key=_used)}
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total > self.limit_bytes and self._remove(path, path.name):
                total -= size

    def _remove(self, path: Path, key: str) -> bool:
        """Remove what is of ``key``, unless somebody makes, reads or holds that. In one step: who is killed
        meanwhile leaves what the next one tidies up."""
        with suppress(HostError, ValueError, OSError), ExitStack() as held:
            held.enter_context(self.cache.writing(KIND, key, 0))
            held.enter_context(self.cache.writing(_IN_USE, key, 0))
            gone = path.with_name(f".tmp-{key}-{os.getpid()}-old")
            if path != gone:
                shutil.rmtree(gone, ignore_errors=True)
                path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            return True
        return False

    def _note(self, text: str) -> None:
        with self._lock:
            new = text not in self._noted
            self._noted.add(text)
        if new and self._on_note is not None:
            self._on_note(text)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
