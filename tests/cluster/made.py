"""Workers and jobs as values, for tests of what decides where a job goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ktstr.cells.job import CellJob, Limits, ParkedRef
from ktstr.cells.measure import job_of
from ktstr.cluster.facts import Fault, WorkerFacts, ktstr_version
from ktstr.cluster.workers import KnownWorker
from ktstr.host.cpu_topology import HostTopology, Llc
from ktstr.planning.capacity import Capacity
from ktstr.vm.probe_kvm import Kvm
from tests.cells.plans import cell, plan

BIG, SMALL = ("GenuineIntel", "big"), ("AuthenticAMD", "small")
KVM, NO_KVM = Kvm(True, "runs guests"), Kvm(False, "no /dev/kvm")


def facts(cpus: int = 4, memory_mib: int = 8000, kvm: Kvm = NO_KVM, host_class: tuple[str, ...] = BIG) -> WorkerFacts:
    topology = HostTopology((Llc(0, tuple(range(cpus)), 0),), {}, {})
    return WorkerFacts(
        host="big-host", version=ktstr_version(), python="3.11.7", arch="x86_64", unix_s=1000.0,
        capacity=Capacity(cpus, memory_mib, topology, frozenset(range(cpus)), 0.0), host_class=host_class, kvm=kvm,
        cache="/cache", free_bytes=1 << 40, cache_fault=None, classes=(),
    )  # fmt: skip


def worker(address: str, of: WorkerFacts | None = None, *faults: str) -> KnownWorker:
    return KnownWorker(address, address, of or facts(), tuple(Fault("any", fault, "a fix") for fault in faults))


def job(folder: Path, machine: str | None = "m", cpus: int = 1, **changed: object) -> CellJob:
    """Of a cell of one vCPU, a clone of the machine of that name."""
    parked = None if machine is None else ParkedRef(machine, machine)
    return replace(job_of(plan(folder), cell(folder)), parked=parked, limits=Limits(900.0, cpus, 400), **changed)  # type: ignore[arg-type]
