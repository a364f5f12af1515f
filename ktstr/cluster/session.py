"""A cluster for the length of one run: its workers as hosts for plans, and what runs jobs on them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from ktstr.cancel import Cancel
from ktstr.cells.job import ArtifactStore
from ktstr.cluster.artifacts import offer_token
from ktstr.cluster.connect import Connection
from ktstr.cluster.runner import ClusterRunner
from ktstr.cluster.supply import Supply
from ktstr.config.project import Project
from ktstr.errors import HostError
from ktstr.host.cache import Cache, cache_root
from ktstr.planning.hosts import RunHost
from ktstr.progress import Progress

WORKERS_S = 60.0  # how long a run waits for its first worker


@dataclass(frozen=True)
class Cluster:
    """``hosts``: the workers that were there as the run began; others may come and go."""

    hosts: tuple[RunHost, ...]
    runner: ClusterRunner


@dataclass(frozen=True)
class Asker:
    """Whose run it is. ``timeout_s``: the limit of one machine."""

    project: Project
    environ: Mapping[str, str]
    progress: Progress
    cancel: Cancel
    timeout_s: float


def open_cluster(address: str, asker: Asker, held: ExitStack) -> Cluster:
    """Connect, until ``held`` is closed, and wait for a worker that can run cells.

    Raises HostError when the scheduler cannot be reached or no worker comes, Cancelled.
    """
    cache = Cache(cache_root(asker.environ), asker.cancel)
    token = held.enter_context(offer_token(cache))
    connection = Connection(address, asker.environ, asker.progress.step, asker.cancel)
    held.callback(connection.close)
    workers, waited = connection.roster.fit(), 0.0
    if not workers:
        asker.progress.step(f"cluster {address}: waits for a worker")
    while not workers and waited < WORKERS_S:
        asker.cancel.wait(0.5)
        asker.cancel.check()
        workers, waited = connection.roster.fit(), waited + 0.5
    if not workers:
        raise HostError(f"cluster={address}: found no worker that can run cells", fix=connection.link.fix)
    hosts = tuple(worker.host(asker.timeout_s) for worker in workers)
    cpus = sum(host.capacity.cpus for host in hosts)
    asker.progress.step(f"cluster {address}: {_counted(len(hosts), 'worker')}, {_counted(cpus, 'CPU')}")
    artifacts = ArtifactStore(cache, Cache(asker.project.unstored, asker.cancel))
    return Cluster(hosts, ClusterRunner(connection, Supply(artifacts, token, asker.progress.step)))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
