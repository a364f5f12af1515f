"""What a worker is: measured on it, told to whoever connects, and whether cells can be run there."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ktstr
from ktstr import resources
from ktstr.host.cache import cache_root
from ktstr.host.cache_classes import CacheClass, read_classes
from ktstr.host.identity import host_class
from ktstr.planning.capacity import Capacity, this_host
from ktstr.planning.readiness import CACHE_FREE_MIN
from ktstr.vm import probe_kvm
from ktstr.vm.probe_kvm import Kvm

CLOCK_S = 5.0  # how far clocks may differ: leases and records bear their host's time
FREE_MIN = CACHE_FREE_MIN
SAME_KTSTR = "install the same ktstr there, and start its dask worker anew"
CACHE_FIX = "start its dask worker with KTSTR_CACHE_DIR=DIR on a local disk with space"
_ANY_TIMEOUT_S = 0.0  # whoever plans has a limit of its own


@dataclass(frozen=True)
class WorkerFacts:
    """``version`` is ``ktstr_version``'s; ``unix_s`` the worker's clock; ``free_bytes`` on the disk of its cache, None
    where that cannot be written, which ``cache_fault`` then says; ``finished``: the input digests of results that
    nobody has fetched; ``dask``: the version of dask.distributed."""

    host: str
    version: str
    python: str
    arch: str
    unix_s: float
    capacity: Capacity
    host_class: tuple[str, ...]
    kvm: Kvm
    cache: str
    free_bytes: int | None
    cache_fault: str | None
    classes: tuple[CacheClass, ...]
    finished: tuple[str, ...] = ()
    dask: str = ""


@dataclass(frozen=True)
class Fault:
    """Why no cell can be run on a worker: what it is ``about``, in one word; ``what`` follows "it"."""

    about: str
    what: str
    fix: str


@cache
def ktstr_version() -> str:
    """The version, and a digest of the sources, those in C too: two checkouts of one version need not do the same."""
    digest = hashlib.sha256()
    for root, patterns in ((Path(ktstr.__file__).parent, ("*.py",)), (resources.c_dir(), ("*.c", "*.h", "*.def"))):
        for path in sorted(path for pattern in patterns for path in root.rglob(pattern)):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return f"{ktstr.__version__}+{digest.hexdigest()[:12]}"


def dask_version() -> str:
    """Of dask.distributed here; empty where there is none."""
    try:
        return version("distributed")
    except PackageNotFoundError:
        return ""


def facts_here(environ: Mapping[str, str], finished: tuple[str, ...] = (), *, in_full: bool = False) -> WorkerFacts:
    """This host, as a worker: takes a second where the probe guest has to run. ``in_full``: every file of the cache is
    looked at, for what it holds."""
    root, uname = cache_root(environ), os.uname()
    room = _room(root)
    return WorkerFacts(
        host=uname.nodename,
        version=ktstr_version(),
        python=".".join(str(part) for part in sys.version_info[:3]),
        arch=uname.machine,
        unix_s=time.time(),
        capacity=this_host(_ANY_TIMEOUT_S),
        host_class=host_class(),
        kvm=probe_kvm.judge(environ),
        cache=str(root),
        free_bytes=room.free_bytes,
        cache_fault=room.fault,
        classes=read_classes(root) if in_full else (),
        finished=finished,
        dask=dask_version(),
    )


@dataclass(frozen=True)
class _Room:
    free_bytes: int | None
    fault: str | None


def _room(root: Path) -> _Room:
    """How much fits into the cache; it is written to, which a full or damaged file system refuses."""
    probe = root / "cluster" / f".tmp-probe-{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink(missing_ok=True)  # a cleanup may have been quicker
        return _Room(shutil.disk_usage(root).free, None)
    except OSError as err:
        return _Room(None, err.strerror or str(err))


@dataclass(frozen=True)
class Span:
    """When the asker asked for facts and when it had them, by its own clock (Unix, s)."""

    began: float
    ended: float


def unfit(facts: WorkerFacts, span: Span) -> tuple[Fault, ...]:
    """Why no cell can be run on a worker; empty when some can."""
    return tuple(_faults(facts, span))


def _faults(facts: WorkerFacts, span: Span) -> Iterator[Fault]:
    mine, python = ktstr_version(), ".".join(str(part) for part in sys.version_info[:2])
    if facts.version != mine:
        yield Fault("ktstr", f"has ktstr {facts.version}, expected {mine}, the asker's", SAME_KTSTR)
    if facts.python.rpartition(".")[0] != python:
        fix = f"run ktstr and dask worker there with Python {python}"
        yield Fault("python", f"runs Python {facts.python}, expected {python}, the asker's", fix)
    if facts.arch != "x86_64":
        yield Fault("machine", f"is a {facts.arch}, expected x86_64, as guests are", "use x86_64 hosts")
    ahead = facts.unix_s - span.ended if facts.unix_s > span.ended else min(0.0, facts.unix_s - span.began)
    if abs(ahead) > CLOCK_S:
        what = f"has a clock that is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
        yield Fault("clock", what, "timedatectl set-ntp true, there and here")
    if facts.cache_fault is not None:
        yield Fault("cache", f"cannot write to its cache {facts.cache}: {facts.cache_fault}", CACHE_FIX)
    elif facts.free_bytes is not None and facts.free_bytes < FREE_MIN:
        free, least = (size / (1 << 30) for size in (facts.free_bytes, FREE_MIN))
        what = f"has {free:.1f} GiB left for its cache {facts.cache}, expected {least:.0f}"
        yield Fault("cache", what, "doit cleanup cluster=..., or a larger disk for KTSTR_CACHE_DIR there")
