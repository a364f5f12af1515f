"""What ``doit doctor cluster=...`` says of a cluster: findings about its scheduler and each worker, as of this host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ktstr.cluster.facts import WorkerFacts, dask_version, ktstr_version
from ktstr.cluster.workers import KnownWorker
from ktstr.columns import printable
from ktstr.planning.readiness import Finding

INSTALL = "pip install 'ktstr[cluster]' there, and start it anew"
_MIB = 1 << 20


@dataclass(frozen=True)
class SchedulerSeen:
    """A scheduler. ``dask``: its version of dask.distributed; ``version``: of its ktstr, None where that has a
    ``fault``, which follows "it"."""

    address: str
    dask: str
    version: str | None
    fault: str | None = None


@dataclass(frozen=True)
class Surveyed:
    """A cluster as it was found."""

    scheduler: SchedulerSeen
    workers: tuple[KnownWorker, ...]


def scheduler_findings(seen: Surveyed) -> tuple[Finding, ...]:
    """What the scheduler has to be, and whether any worker is there."""
    scheduler = seen.scheduler
    return (
        Finding("scheduler", True, scheduler.address),
        _ktstr(scheduler),
        _dask(scheduler.dask),
        _workers(scheduler.address, seen.workers),
    )


def _ktstr(scheduler: SchedulerSeen) -> Finding:
    """It has to have it: Dask's scheduler unpickles what it is given."""
    mine = ktstr_version()
    if scheduler.version is None:
        return Finding("ktstr", False, printable(f"the scheduler {scheduler.fault}, expected ktstr {mine}"), INSTALL)
    if scheduler.version != mine:
        detail = printable(f"the scheduler has {scheduler.version}, expected {mine}, the asker's")
        return Finding("ktstr", False, detail, "install the same ktstr there, and start dask scheduler anew")
    return Finding("ktstr", True, mine)


def _dask(theirs: str) -> Finding:
    """Versions that differ often work; nothing is promised."""
    mine = dask_version()
    if theirs == mine:
        return Finding("dask", True, mine)
    detail = printable(f"{theirs}, the asker's is {mine}")
    return Finding("dask", None, detail, f"pip install distributed=={mine} there, and start it anew")


def _workers(address: str, workers: Sequence[KnownWorker]) -> Finding:
    fit = sum(worker.is_fit for worker in workers)
    if not workers:
        return Finding("workers", False, "none is there", f"dask worker {address} on each host")
    detail = f"{fit} of {len(workers)} can run cells"
    return Finding("workers", True if fit == len(workers) else False if fit == 0 else None, detail)


def worker_findings(worker: KnownWorker) -> tuple[Finding, ...]:
    """What a worker is, and each fault with its fix in the place of what it is about."""
    told = {} if worker.facts is None else {found.name: found for found in _told(worker.facts)}
    faults = {
        fault.about: Finding(fault.about, False, printable(f"left out: it {fault.what}"), fault.fix)
        for fault in worker.faults
    }
    return tuple((told | faults).values())


def _told(facts: WorkerFacts) -> Iterable[Finding]:
    yield Finding("ktstr", True, printable(facts.version))
    yield Finding("python", True, printable(facts.python))
    yield _dask(facts.dask)
    yield Finding("machine", True, printable(", ".join((facts.arch, *facts.host_class))))
    yield Finding("cpus", None, str(facts.capacity.cpus))
    yield Finding("memory", None, f"{facts.capacity.memory_mib / 1024:.1f} GiB")
    kvm = facts.kvm
    yield Finding("kvm", True if kvm.usable else None, printable(kvm.detail), kvm.fix and printable(kvm.fix))
    free = "" if facts.free_bytes is None else f": {facts.free_bytes / (1 << 30):.1f} GiB free"
    yield Finding("cache", True, printable(f"{facts.cache}{free}"))
    held = (f"{one.name} {one.entries} ({one.disk_bytes / _MIB:.0f} MiB)" for one in facts.classes)
    yield Finding("cache holds", None, printable(", ".join(held) or "nothing"))
    count = len(facts.finished)
    fetched = f"{count} kept that nobody has fetched" if count else "all fetched"
    yield Finding("results", None, fetched)


def is_ready(seen: Surveyed) -> bool:
    """Whether the scheduler and every worker are as they have to be, and there is one."""
    findings = (*scheduler_findings(seen), *(one for worker in seen.workers for one in worker_findings(worker)))
    return all(finding.ok is not False for finding in findings)


def scheduler_value(seen: Surveyed) -> dict[str, Any]:
    """``cluster`` of ``schemas/doctor.schema.json``."""
    scheduler = seen.scheduler
    return {
        "address": scheduler.address,
        "ktstr": scheduler.version,
        "dask": scheduler.dask,
        "asker": {"ktstr": ktstr_version(), "dask": dask_version()},
    }


def worker_value(worker: KnownWorker) -> dict[str, Any]:
    """One of ``workers`` of ``schemas/doctor.schema.json``, but for its findings."""
    value = {"name": worker.name, "address": worker.address, "ok": worker.is_fit}
    facts = worker.facts
    return {**value, "facts": None if facts is None else _facts_value(facts)}


def _facts_value(facts: WorkerFacts) -> dict[str, Any]:
    return {
        "host": facts.host,
        "ktstr": facts.version,
        "python": facts.python,
        "dask": facts.dask,
        "arch": facts.arch,
        "host_class": list(facts.host_class),
        "cpus": facts.capacity.cpus,
        "memory_mib": facts.capacity.memory_mib,
        "kvm": facts.kvm.usable,
        "cache": facts.cache,
        "free_bytes": facts.free_bytes,
        "classes": [{"name": one.name, "entries": one.entries, "disk_bytes": one.disk_bytes} for one in facts.classes],
        "unfetched": list(facts.finished),
    }
