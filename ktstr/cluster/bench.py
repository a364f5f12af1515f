"""Running jobs on a worker: with what arrived in its cache, in a folder of its own, and kept until it is fetched."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.cells.host_cpus import HostCpus
from ktstr.cells.job import ArtifactStore, CellJob
from ktstr.cells.measure import machines_open
from ktstr.cells.run import Runner
from ktstr.cluster.arrival import Arrivals
from ktstr.cluster.artifacts import Token
from ktstr.cluster.facts import WorkerFacts, facts_here, ktstr_version
from ktstr.cluster.finished import Finished
from ktstr.cluster.manifest import Manifest
from ktstr.cluster.wire import Ask, Done, Lacking, Need, Offered, WantedPiece, pack_files
from ktstr.errors import HostError
from ktstr.host.cache import Cache, cache_root
from ktstr.host.identity import host_identity
from ktstr.host.leftovers import UNSTORED
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
    """An entry that was offered to this process. ``stored`` as of ``ArtifactRef``."""

    manifest: Manifest
    stored: bool


class WorkerBench:
    """Where a worker runs jobs. One for each process; safe from any thread."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.cache = Cache(cache_root(environ))
        self._artifacts = ArtifactStore(self.cache, Cache(self.cache.root / UNSTORED))
        self.finished = Finished(self.cache.root)
        self._store = CellStore(self.cache.root / CELLS)
        self._snapshots = SnapshotStore(self.cache, limit_bytes(environ), machines_open())
        self._arrivals = {True: Arrivals(self.cache), False: Arrivals(self._artifacts.unstored)}
        self._offers: dict[str, _Offer] = {}  # by the digest of the manifest
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()

    def facts(self) -> WorkerFacts:
        """What this worker is now."""
        return facts_here(self._environ, self.finished.digests())

    def tidy(self) -> None:
        """Remove what killed workers left, and results that nobody asked for in a day."""
        self._store.sweep()
        self.finished.sweep()
        for arrivals in self._arrivals.values():
            arrivals.sweep()

    def offered(self, manifest: Manifest, stored: bool, token: Token) -> Offered:
        """What of an entry has to be sent. Raises HostError as ``Arrivals``."""
        arrivals = self._arrivals[stored]
        found = arrivals.lacking(manifest)
        with self._lock:
            self._offers[manifest.digest] = _Offer(manifest, stored)
        whole = found.found == "whole" or arrivals.copy_shared(manifest, token.path, token.text)
        pieces = () if whole else tuple(WantedPiece(piece.digest, piece.path, piece.index) for piece in found.pieces)
        return Offered(found.found, found.differing, pieces, whole)

    def accept(self, digest: str, piece: str, data: bytes) -> None:
        """A piece of an entry that was offered arrives. Raises as ``Arrivals``; HostError for one that was not."""
        offer = self._offer(digest)
        self._arrivals[offer.stored].accept(offer.manifest, piece, data)

    def finish(self, digest: str) -> None:
        """All pieces of an entry have arrived. Raises as ``Arrivals``."""
        offer = self._offer(digest)
        self._arrivals[offer.stored].finish(offer.manifest)

    def _offer(self, digest: str) -> _Offer:
        with self._lock:
            offer = self._offers.get(digest)
        if offer is None:
            raise HostError("this worker was started anew: what it is sent was offered to another", fix="again")
        return offer

    def run(self, ask: Ask, cancel: Cancel, announce: Callable[[str], None]) -> Done | Lacking:
        """Run a job to its end, or say what it lacks. ``announce`` is told ``started`` and, once there is a result that
        is a fact, ``measured``. Raises HostError for a job of another version, and when the disk takes nothing."""
        if ask.version != ktstr_version():
            raise HostError(f"the asker has ktstr {ask.version}, this worker {ktstr_version()}", fix="make them equal")
        if lacking := tuple(need.ref for need in ask.needs if not self._has(need)):
            return Lacking(lacking)
        job = self._of_this_boot(ask.job)
        with self._store.working(job.input_digest) as workdir:
            announce("started")
            result = self._runner(job).run(job, workdir, cancel)
            if result.record is None or cancel.is_set():
                return Done(result, pack_files(workdir))
            announce("measured")
            return self.finished.keep(result, workdir)

    def _has(self, need: Need) -> bool:
        with self._lock:
            offer = self._offers.get(need.digest)
        if offer is None or (offer.manifest.kind, offer.manifest.key) != (need.ref.kind, need.ref.key):
            return False
        return self._arrivals[offer.stored].lacking(offer.manifest).found == "whole"

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
        with self._lock:
            known = self._machines.get(f"{job.accel} {job.machine}")
        if known is None:
            known = self._made(job)
            with self._lock:
                self._machines[f"{job.accel} {job.machine}"] = known
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


def _bundle(folder: Path) -> bundle.Bundle:
    facts = bundle.read_facts(bundle.BundleFacts, folder, bundle.FORMAT, QEMU.name, QEMU.programs)
    if facts is None:
        raise HostError(f"{folder}: found no QEMU that is whole", fix="run the command again: it is sent again")
    return bundle.Bundle(QEMU.name, folder, facts.version, facts.digest)
