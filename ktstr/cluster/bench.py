"""Running jobs on a worker: with what arrived in its cache, in a folder of its own, and kept until it is fetched."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.cells.host_cpus import HostCpus
from ktstr.cells.job import ArtifactRef, ArtifactStore, CellJob
from ktstr.cells.measure import machines_open
from ktstr.cells.run import Runner
from ktstr.cluster.arrival import Arrivals
from ktstr.cluster.artifacts import Token
from ktstr.cluster.dispatch import MEASURED, STARTED
from ktstr.cluster.facts import WorkerFacts, facts_here, ktstr_version
from ktstr.cluster.finished import Finished
from ktstr.cluster.manifest import Manifest
from ktstr.cluster.wire import CPU, MEM, Ask, Done, Lacking, Need, Offered, OutFile, WantedPiece, pack_files
from ktstr.errors import HostError
from ktstr.host.cache import Cache, cache_root
from ktstr.host.identity import host_identity
from ktstr.host.leftovers import SENT, clean, unused_entries
from ktstr.results.store import CellStore
from ktstr.tools import bundle
from ktstr.tools.pinned import QEMU, qemu_tool
from ktstr.vm import steady
from ktstr.vm.machine import Machine
from ktstr.vm.snapshot_store import SnapshotStore, limit_bytes
from ktstr.vm.vmm_build import Extension

CELLS = "cluster/cells"  # below the cache


@dataclass(frozen=True)
class _Offer:
    """An entry that was offered to this process: by what the asker calls it, and as it is filed here. ``own``: in the
    cache of this host itself, which has the same; else among those that were sent."""

    asked: Manifest
    filed: Manifest
    own: bool


class WorkerBench:
    """Where a worker runs jobs. ``resources``: those of Dask that the user declared, which limit what jobs take. One
    for each process; safe from any thread.

    What is sent is filed by its bytes: two askers may each have made what has the same key. The cache of this host
    itself is read, and nothing in it is replaced.
    """

    def __init__(self, environ: Mapping[str, str], resources: Mapping[str, float]) -> None:
        self._environ, self._resources = environ, resources
        self.cache = Cache(cache_root(environ))
        sent = Cache(self.cache.root / SENT)
        self._artifacts = ArtifactStore(self.cache, sent)
        self.finished = Finished(self.cache.root)
        self._store = CellStore(self.cache.root / CELLS)
        self._snapshots = SnapshotStore(self.cache, limit_bytes(environ), machines_open())
        self._own, self._sent = Arrivals(self.cache), Arrivals(sent)
        self._offers: dict[str, _Offer] = {}  # by the digest of the asker's manifest
        self._machines: dict[tuple[str, ...], Machine] = {}
        self._lock = threading.Lock()

    def facts(self, *, in_full: bool) -> WorkerFacts:
        """What this worker is now; ``in_full``: what its cache holds too, for who looks and runs nothing."""
        if not in_full:
            self._tidy()
        facts = facts_here(self._environ, self.finished.digests(), in_full=in_full)
        has = facts.capacity
        cpus = min(has.cpus, int(self._resources.get(CPU, has.cpus)))
        memory = min(has.memory_mib, int(self._resources.get(MEM, has.memory_mib)))
        return replace(facts, capacity=replace(has, cpus=max(1, cpus), memory_mib=memory))

    def _tidy(self) -> None:
        """Remove what killed workers left, and what has expired."""
        self._store.sweep()
        self.finished.sweep()
        self._sent.sweep()
        clean(unused_entries(self.cache.root), dry_run=False)

    def offered(self, manifest: Manifest, token: Token) -> Offered:
        """What of an entry has to be sent. Raises HostError as ``Arrivals``."""
        if self._own.lacking(manifest).found == "whole":
            self._remember(_Offer(manifest, manifest, own=True))
            return Offered("whole", (), (), whole=True)
        key = f"{manifest.key[:150]}-{manifest.digest[:16]}"
        filed = Manifest(manifest.kind, key, manifest.root, manifest.files)
        found = self._sent.lacking(filed)
        self._remember(_Offer(manifest, filed, own=False))
        whole = found.found == "whole" or self._sent.copy_shared(filed, manifest.key, token)
        pieces = () if whole else tuple(WantedPiece(piece.digest, piece.path, piece.index) for piece in found.pieces)
        return Offered(found.found, found.differing, pieces, whole)

    def _remember(self, offer: _Offer) -> None:
        with self._lock:
            self._offers[offer.asked.digest] = offer

    def accept(self, digest: str, piece: str, data: bytes) -> None:
        """A piece of an entry that was offered arrives. Raises as ``Arrivals``; HostError for one that was not."""
        self._sent.accept(self._offer(digest).filed, piece, data)

    def finish(self, digest: str) -> None:
        """All pieces of an entry have arrived. Raises as ``Arrivals``."""
        self._sent.finish(self._offer(digest).filed)

    def _offer(self, digest: str) -> _Offer:
        with self._lock:
            offer = self._offers.get(digest)
        if offer is None:
            raise HostError("this worker was started anew: what it is sent was offered to another", fix="again")
        return offer

    def run(self, ask: Ask, cancel: Cancel, announce: Callable[[str], None]) -> Done | Lacking:
        """Run a job to its end, or say what it lacks. ``announce`` is told what ``dispatch`` names. Raises HostError
        for a job of another version."""
        if ask.version != ktstr_version():
            raise HostError(f"the asker has ktstr {ask.version}, this worker {ktstr_version()}", fix="make them equal")
        here = {need.ref: self._here(need) for need in ask.needs}
        if lacking := tuple(ref for ref, found in here.items() if found is None):
            return Lacking(lacking)
        job = _with_parts(self._of_this_boot(ask.job), {ref: found for ref, found in here.items() if found is not None})
        with self._store.working(job.input_digest) as workdir:
            announce(STARTED)
            result = self._runner(job).run(job, workdir, cancel)
            if result.record is None or cancel.is_set():
                return Done(result)
            try:
                done = self.finished.keep(result, ask.ticket, workdir)
            except HostError:  # a full disk: what was measured is not to be lost
                done = Done(result, _small_files(workdir))
            announce(MEASURED)  # whoever hears it may look for what is kept
            return done

    def _here(self, need: Need) -> ArtifactRef | None:
        """An artifact as it is called here; None where it is not whole."""
        with self._lock:
            offer = self._offers.get(need.digest)
        if offer is None or (offer.asked.kind, offer.asked.key) != (need.ref.kind, need.ref.key):
            return None
        arrivals = self._own if offer.own else self._sent
        if arrivals.lacking(offer.filed).found != "whole":
            return None
        ref = replace(need.ref, key=offer.filed.key, stored=offer.own)
        if not offer.own:
            with suppress(OSError):
                os.utime(self._artifacts.path(ref).parent)  # it is used
        return ref

    def _of_this_boot(self, job: CellJob) -> CellJob:
        """A machine that is parked on KVM is of this boot of this host: another worker may share the cache."""
        if job.parked is None or job.accel != "kvm":
            return job
        key = hashlib.sha256(repr((job.parked.key, host_identity())).encode()).hexdigest()
        return replace(job, parked=replace(job.parked, key=key))

    def _runner(self, job: CellJob) -> Runner:
        return Runner(self._artifacts, self._machine(job), HostCpus(self._environ), self._snapshots)

    def _machine(self, job: CellJob) -> Machine:
        """What runs the guest. Raises HostError for parts that are none."""
        key = (job.accel, job.machine, *(str(self._artifacts.path(part)) for part in job.machine_parts))
        with self._lock:
            known = self._machines.get(key)
        if known is None:
            known = self._made(job)
            with self._lock:
                self._machines[key] = known
        return known

    def _made(self, job: CellJob) -> Machine:
        files = {part.kind: self._artifacts.path(part) for part in job.machine_parts}
        if job.accel == "kvm":
            from ktstr.vm import vmm_build
            from ktstr.vm.kvm import KvmMachine

            if "vmm" in files:
                return KvmMachine(Extension(files["vmm"], job.machine, None))
            return KvmMachine(vmm_build.planned(self.cache, self._environ))
        from ktstr.vm.qemu import QemuMachine

        tool = qemu_tool(_bundle(files["tools"].parent))
        library = steady.compiled(resources.c_dir(), files["agents"]) if job.accel == "icount" else None
        return QemuMachine(tool, job.accel, library)


def _small_files(folder: Path) -> tuple[OutFile, ...]:
    try:
        return tuple(file for file in pack_files(folder) if file.data is not None)
    except OSError:
        return ()


def _with_parts(job: CellJob, here: Mapping[ArtifactRef, ArtifactRef]) -> CellJob:
    """The job with its artifacts as they are called here."""
    return replace(
        job,
        kernel=here[job.kernel],
        images=tuple(here[ref] for ref in job.images),
        machine_parts=tuple(here[ref] for ref in job.machine_parts),
    )


def _bundle(folder: Path) -> bundle.Bundle:
    facts = bundle.read_facts(bundle.BundleFacts, folder, bundle.FORMAT, QEMU.name, QEMU.programs)
    if facts is None:
        raise HostError(f"{folder}: found no QEMU that is whole", fix="run the command again: it is sent again")
    return bundle.Bundle(QEMU.name, folder, facts.version, facts.digest)
