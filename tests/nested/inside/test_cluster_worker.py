"""A worker of a cluster runs jobs on a real KVM, with nothing but what arrived in its cache."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.cells.job import ArtifactRef, CellJob, Limits, ParkedRef
from ktstr.cluster.artifacts import Token, describe, read_piece
from ktstr.cluster.bench import WorkerBench
from ktstr.cluster.facts import ktstr_version
from ktstr.cluster.wire import Ask, Done, Lacking, Need
from ktstr.config.topology import Topology
from ktstr.host.cache import Cache, cache_root
from ktstr.host.identity import host_class
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Program
from ktstr.vm.vmm_build import planned
from tests.nested.guests import prepared

PAIR = Topology(1, 1, 2, 1)
NOBODYS = Token("/nowhere/token", "")


def asker(folder: Path) -> Cache:
    """A cache with what a job needs: kernel, image and monitor."""
    guests, made = prepared(), planned(Cache(cache_root(os.environ)), os.environ)
    for kind, key, name, source in (
        ("kernels", "k", "vmlinux", guests.kernel), ("images", "i", "image.cpio", guests.image),
        ("vmm", made.digest, made.path.name, made.path),
    ):  # fmt: skip
        (folder / kind / key).mkdir(parents=True)
        (folder / kind / key / name).write_bytes(source.read_bytes())
    return Cache(folder)


def job(machine: str) -> CellJob:
    return CellJob(
        name="brief", input_digest=hashlib.sha256(b"brief").hexdigest(), accel="kvm", machine=machine,
        kernel=ArtifactRef("kernels", "k"), images=(ArtifactRef("images", "i"),), setup=b"",
        program=encode(Program(0, 60_000_000_000)), topology=PAIR, memory_mib=512, kernel_args=(), performance=False,
        parked=ParkedRef("m" * 64, "machine"), limits=Limits(240.0, 2, 700),
        machine_parts=(ArtifactRef("vmm", machine),), host_class=host_class(),
    )  # fmt: skip


def test_what_arrived_boots_and_is_cloned_on_kvm(tmp_path: Path) -> None:
    """The result is kept before it is said to be measured, until it has arrived."""
    cache = asker(tmp_path / "asker")
    said: list[tuple[str, tuple[str, ...]]] = []

    def announce(what: str) -> None:
        said.append((what, bench.finished.digests()))

    bench = WorkerBench({**os.environ, "KTSTR_CACHE_DIR": str(tmp_path / "worker")}, {})
    asked = job(planned(Cache(cache_root(os.environ)), os.environ).digest)
    manifests = {ref: describe(cache, ref.kind, ref.key) for ref in asked.artifacts}
    needs = tuple(Need(ref, manifest.digest) for ref, manifest in manifests.items())
    ask = Ask(job=asked, needs=needs, ticket="t", version=ktstr_version())
    assert bench.run(ask, Cancel(), announce) == Lacking(asked.artifacts)
    for ref, manifest in manifests.items():
        for piece in bench.offered(manifest, NOBODYS).pieces:
            bench.accept(manifest.digest, piece.digest, read_piece(cache, ref.kind, ref.key, piece.path, piece.index))
        bench.finish(manifest.digest)
    done = bench.run(ask, Cancel(), announce)
    assert isinstance(done, Done) and done.result.record is not None, done
    end = done.result.record.end
    assert (end.reason, end.kvm is not None and end.kvm.cloned) == ("clean", True), end
    assert "console.log" in [file.name for file in done.files]
    assert bench.finished.find(asked.input_digest) == done
    bench.finished.drop([str(done.kept)])
    assert said == [("started", ()), ("measured", (asked.input_digest,))] and bench.finished.digests() == ()
    elsewhere = replace(asked, host_class=("another", "host"))
    refused = bench.run(Ask(job=elsewhere, needs=needs, ticket="t", version=ktstr_version()), Cancel(), announce)
    assert isinstance(refused, Done) and refused.result.error is not None
    assert "a host of another class" in refused.result.error.message
