"""Reserving host CPUs: one lock file per LLC and per CPU, so that measurements do not share caches.

A run that must not be disturbed takes its LLCs exclusively; builds and ordinary runs share LLCs. A lock
ends with the process that holds it.

Whoever needs tokens of this process's pool (``ktstr.cells.tokens``) too takes them first, and CPUs of the host while
it holds them: one order for guests and kernel builds. A build that held CPUs and waited for tokens stood against an
undisturbed run that held the tokens and waited for all CPUs, each until its timeout.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.files import full_or_denied
from ktstr.host.cpu_topology import HostTopology, Llc, allowed_cpus, read_topology
from ktstr.host.flock import Holder, holders, is_current, refuse_remote

RETRY_S = 0.2


class Busy(HostError):
    """Others hold what is needed."""


@dataclass
class Reservation:
    """Locks held until ``release``. ``cpus`` is where the work may run; ``llcs`` are the indexes locked."""

    cpus: tuple[int, ...]
    llcs: tuple[int, ...]
    nodes: tuple[int, ...]
    _fds: list[int] = field(default_factory=list)

    def release(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def waiting(
    take: Callable[[], Reservation],
    timeout_s: float,
    cancel: Cancel,
    waits: Callable[[str], None] = lambda _: None,
) -> Reservation:
    """What ``take`` reserves (``share`` or ``exclude``), waiting while others have it.

    ``waits`` is told once who has it, if there is a wait. Raises Busy naming the holders after ``timeout_s``,
    Cancelled, and what ``take`` raises besides Busy.
    """
    cancel.check()
    deadline = time.monotonic() + timeout_s
    noticed = False
    while True:
        try:
            return take()
        except Busy as err:
            if time.monotonic() >= deadline:
                raise
            if not noticed:
                waits(err.message)
                noticed = True
        cancel.wait(RETRY_S)
        cancel.check()


def lock_dir(environ: Mapping[str, str]) -> Path:
    """Where host-wide locks are: ``KTSTR_LOCK_DIR``, else ``/tmp``."""
    return Path(environ.get("KTSTR_LOCK_DIR") or "/tmp")


def llc_lock(folder: Path, index: int) -> Path:
    return folder / f"ktstr-llc-{index}.lock"


def cpu_lock(folder: Path, cpu: int) -> Path:
    return folder / f"ktstr-cpu-{cpu}.lock"


def check_cap(cap: int, allowed: Collection[int]) -> int:
    """Give ``cap`` back. Raises InputError when this process may not use that many CPUs."""
    if cap > len(allowed):
        raise InputError(
            f"cpu_cap={cap}: exceeds the {len(allowed)} CPUs this process may use",
            fix=f"cpu_cap={len(allowed)} or less, or widen its cpuset",
        )
    return cap


def choose(topology: HostTopology, allowed: Collection[int], held: Callable[[int], int]) -> tuple[Llc, ...]:
    """The LLCs with an allowed CPU, in the order in which to take them.

    Those that others already share come first (``held`` counts their holders), so that whole LLCs stay free
    for exclusive runs; from the first one on, nearer nodes come before farther ones.
    """
    eligible = [llc for llc in topology.llcs if set(llc.cpus) & set(allowed)]
    ranked = sorted(eligible, key=lambda llc: (-held(llc.index), llc.index))
    if not ranked:
        raise HostError("no host LLC has a CPU this process may use", fix="widen its cpuset or affinity")
    seed = ranked[0].node
    return tuple(sorted(ranked, key=lambda llc: topology.distance(seed, llc.node)))  # stable within a node


def share(
    cap: int | None, folder: Path, *, topology: HostTopology | None = None, allowed: Collection[int] | None = None
) -> Reservation:
    """Reserve CPUs on LLCs that others may share too: ``cap`` of them, or without a cap all that nobody has
    for himself. Raises Busy naming the holders, InputError for a cap above what is allowed."""
    topology, allowed = topology or read_topology(), allowed_cpus() if allowed is None else allowed
    target = len(allowed) if cap is None else check_cap(cap, allowed)
    fds: list[int] = []
    taken: list[Llc] = []
    blocked: list[Path] = []
    for llc in choose(topology, allowed, lambda index: len(holders(llc_lock(folder, index)))):
        if _count(taken, allowed) >= target:
            break
        path = llc_lock(folder, llc.index)
        locks = _take([path], fcntl.LOCK_SH)
        if locks.busy is None:
            fds += locks.fds
            taken.append(llc)
        else:
            blocked.append(path)
    if _count(taken, allowed) < (1 if cap is None else target):
        for fd in fds:
            os.close(fd)
        raise _busy(f"could not reserve {target} CPUs", blocked)
    taken.sort(key=lambda llc: llc.index)
    cpus = [cpu for llc in taken for cpu in llc.cpus if cpu in allowed][:target]
    nodes = sorted({topology.node_of[cpu] for cpu in cpus if cpu in topology.node_of})
    return Reservation(tuple(cpus), tuple(llc.index for llc in taken), tuple(nodes), fds)


def _count(llcs: Iterable[Llc], allowed: Collection[int]) -> int:
    return sum(len(set(llc.cpus) & set(allowed)) for llc in llcs)


def lacking(
    llcs_needed: int, cpus_each: int, topology: HostTopology, allowed: Collection[int], host: str = "this host"
) -> str | None:
    """Why ``host``, which has these CPUs, can never give ``exclude`` what it is asked for; None when it can."""
    fitting = _fitting(cpus_each, topology, allowed)
    if len(fitting) >= llcs_needed and len(allowed) > llcs_needed * cpus_each:
        return None
    return (
        f"performance mode needs {llcs_needed} LLCs of {cpus_each} CPUs and one CPU more; {host} has"
        f" {len(fitting)} such LLCs and {len(allowed)} CPUs"
    )


def _fitting(cpus_each: int, topology: HostTopology, allowed: Collection[int]) -> list[Llc]:
    return [llc for llc in topology.llcs if len(set(llc.cpus) & set(allowed)) >= cpus_each]


def exclude(
    llcs_needed: int, cpus_each: int, folder: Path, *, topology: HostTopology, allowed: Collection[int]
) -> Reservation:
    """Reserve whole LLCs for one undisturbed run, each with at least ``cpus_each`` allowed CPUs, and one CPU more.

    Raises Busy when they exist but are taken, HostError when this host does not have them.
    """
    lack = lacking(llcs_needed, cpus_each, topology, allowed)
    if lack is not None:
        raise HostError(lack, fix="a smaller preset, or no_perf_mode=1")
    fitting = _fitting(cpus_each, topology, allowed)
    blocked: list[Path] = []
    for first in range(0, len(fitting) - llcs_needed + 1, max(1, llcs_needed)):
        slot = fitting[first : first + llcs_needed]
        locks = _take([llc_lock(folder, llc.index) for llc in slot], fcntl.LOCK_EX)
        if locks.busy is None:
            cpus = [cpu for llc in slot for cpu in llc.cpus if cpu in allowed]
            nodes = sorted({llc.node for llc in slot if llc.node is not None})
            return Reservation(tuple(cpus), tuple(llc.index for llc in slot), tuple(nodes), locks.fds)
        blocked.append(locks.busy)
    raise _busy("all LLC slots busy", blocked)


@dataclass(frozen=True)
class _Locks:
    """The descriptors that hold locks; or none, and the first path that somebody else holds."""

    fds: list[int]
    busy: Path | None = None


def _take(paths: Sequence[Path], operation: int) -> _Locks:
    """Lock all or none, without waiting."""
    fds: list[int] = []
    for path in paths:
        try:
            fds.append(_lock(path, operation | fcntl.LOCK_NB))
        except OSError as err:
            for one in fds:
                os.close(one)
            if err.errno == errno.EWOULDBLOCK:
                return _Locks([], path)
            raise HostError(f"lock {path}: flock failed: {err.strerror}") from err
    return _Locks(fds)


def _lock(path: Path, operation: int) -> int:
    """A descriptor with a lock on the file that is there now: a free one may be removed (``host.leftovers``)."""
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, operation)
            if is_current(fd, path):
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def _open(path: Path) -> int:
    """Open a lock file that any user may have made; O_CREAT is refused on others' files in a sticky folder
    (Documentation/admin-guide/sysctl/fs.rst, protected_regular)."""
    refuse_remote(path)
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        pass
    except OSError as err:
        raise _unopened(path, err) from err
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as err:
        raise _unopened(path, err) from err
    if os.fstat(fd).st_uid == os.getuid():
        os.fchmod(fd, 0o666)  # whatever the umask: all users of the host share it
    return fd


def _unopened(path: Path, err: OSError) -> HostError:
    return full_or_denied(err, path, "KTSTR_LOCK_DIR", verb="opened")


def _busy(what: str, paths: Iterable[Path]) -> Busy:
    named = [f"\n  {path}: {holder}" for path in paths for holder in holders(path) or (Holder(0, "<none recorded>"),)]
    return Busy(f"{what}; held by:{''.join(named)}", fix="doit locks shows who; wait, or ask for fewer CPUs")
