"""The workers that are there now, as the asker knows them, and which of them a job is for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktstr.cells.job import CellJob
from ktstr.cluster.facts import Fault, WorkerFacts
from ktstr.cluster.wire import CPU, KVM, MEM
from ktstr.planning.capacity import Wanted, cells_mib
from ktstr.planning.hosts import RunHost, rendezvous


@dataclass(frozen=True)
class KnownWorker:
    """A worker: Dask's address of it, what messages call it, what it is, and why no cell is run there, if so."""

    address: str
    name: str
    facts: WorkerFacts | None
    faults: tuple[Fault, ...] = ()

    @property
    def is_fit(self) -> bool:
        return self.facts is not None and not self.faults

    @property
    def why_left_out(self) -> str:
        """Its faults, in words; empty for a fit one."""
        return "; ".join(f"it {fault.what}" for fault in self.faults)

    def host(self, timeout_s: float) -> RunHost:
        """As plans have it. Of a fit one only."""
        assert self.facts is not None
        capacity = replace(self.facts.capacity, timeout_s=timeout_s, name=self.name)
        return RunHost(self.name, self.facts.host_class, capacity, self.facts.kvm)


def names_of(hosts: Mapping[str, str], given: Mapping[str, object]) -> dict[str, str]:
    """What workers are called, by address: the name that they were given, else their host's where that has one worker,
    else their address without its scheme. ``hosts`` and ``given`` are by address; Dask gives its address for a name to
    one that was given none."""
    counted = Counter(hosts.values())
    names = {}
    for address, host in hosts.items():
        own = str(given.get(address, address))
        if own != address and "://" not in own:
            names[address] = own if not own.isdecimal() else f"worker-{own}"
        else:
            names[address] = host if counted[host] == 1 else address.partition("://")[2]
    return names


def able(job: CellJob, workers: Iterable[KnownWorker]) -> list[KnownWorker]:
    """The workers that can run a job: of its class of host, with what runs its guest, and large enough; where none is
    that large (``no_skip=1``), those that have the rest."""
    wanted = Wanted(job.topology, job.accel, job.memory_mib, job.performance)
    right = [
        (worker, worker.host(job.limits.host_seconds))
        for worker in workers
        if worker.facts is not None and worker.is_fit and job.host_class in ((), worker.facts.host_class)
    ]
    right = [(worker, host) for worker, host in right if job.accel != "kvm" or host.kvm.usable]
    large = [worker for worker, host in right if host.lacks(wanted) is None]
    return large or [worker for worker, _ in right]


@dataclass
class Homes:
    """Where the jobs of this asker run: what keeps those together that share a machine or are compared.

    Not safe for threads: whoever has it holds a lock.
    """

    _machines: dict[str, list[str]] = field(default_factory=dict)
    _cpus: Counter[str] = field(default_factory=Counter)

    def choose(self, job: CellJob, workers: Sequence[KnownWorker]) -> tuple[str, ...]:
        """The addresses that a job may go to, of workers that can run it.

        One alone for a job that is compared with another: the same for both, whichever comes first, in this run or the
        next. One for a clone of a parked machine: where
        there is room and the machine was made; else where there is most room; where there is none at all, in the
        shortest queue of those that have the machine. Else all of them: Dask chooses.
        """
        rooms = {worker.address: self._room(worker) for worker in workers}
        if job.together:
            return (_by_name(workers, job.together).address,)
        if job.parked is None:
            return tuple(rooms)
        homes = {address: rooms[address] for address in self._machines.get(job.parked.key, ()) if address in rooms}
        for choice in (homes, rooms):
            fitting = {address: room for address, room in choice.items() if room >= job.limits.host_cpus}
            if fitting:
                return (_roomiest(fitting, job.parked.key),)
        return (_roomiest(homes, job.parked.key),) if homes else tuple(rooms)

    def starts(self, job: CellJob, address: str) -> None:
        """A job is counted on a worker from now on: sent to it alone, or running there."""
        self._cpus[address] += job.limits.host_cpus
        if job.parked is not None:
            homes = self._machines.setdefault(job.parked.key, [])
            if address not in homes:
                homes.append(address)

    def ends(self, job: CellJob, address: str) -> None:
        """It is no longer."""
        self._cpus[address] -= job.limits.host_cpus

    def _room(self, worker: KnownWorker) -> int:
        return 0 if worker.facts is None else worker.facts.capacity.cpus - self._cpus[worker.address]


def _roomiest(rooms: Mapping[str, int], word: str) -> str:
    """The address with most room; of equal ones another for each word."""
    return max(rooms, key=lambda address: (rooms[address], hashlib.sha256(f"{word} {address}".encode()).digest()))


def _by_name(workers: Sequence[KnownWorker], word: str) -> KnownWorker:
    """The same worker for the same word, while it is there; words are spread over all by their CPUs."""
    cpus = {worker.name: worker.facts.capacity.cpus for worker in workers if worker.facts is not None}
    chosen = rendezvous(word, cpus)
    return next(worker for worker in workers if worker.name == chosen)


def resources_for(job: CellJob, workers: Collection[KnownWorker]) -> dict[str, int]:
    """What a job takes of a worker, in Dask's resources; never more than any of these workers has in all: a job that
    is larger than one of them has it alone."""
    facts = [worker.facts for worker in workers if worker.facts is not None]
    cpus = min(one.capacity.cpus for one in facts)
    memory = min(cells_mib(one.capacity.memory_mib) for one in facts)
    taken = {CPU: min(job.limits.host_cpus, cpus), MEM: min(job.limits.memory_mib, memory)}
    return {**taken, KVM: 1} if job.accel == "kvm" else taken
