"""What runs inside a worker's process: the plugin that Dask gives each worker, and the functions that an asker has run
there. Bytes go in and bytes come out; what can be wrong is an answer too."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from distributed import Worker, WorkerPlugin, get_worker

from ktstr.cancel import Cancel
from ktstr.cluster import upkeep, wire
from ktstr.cluster.artifacts import Token
from ktstr.cluster.bench import WorkerBench
from ktstr.cluster.facts import WorkerFacts, facts_here, ktstr_version
from ktstr.cluster.manifest import decode as decode_manifest
from ktstr.cluster.wire import Ask
from ktstr.errors import HostError, KtstrError
from ktstr.files import full_or_denied

T = TypeVar("T")
CPU, MEM, KVM = "CPU", "MEM", "KVM"  # Dask's resources: CPUs, MiB, and guests on KVM at once
_RUNNING = "executing"
_ENDED = frozenset({"memory", "error"})


class KtstrWorker(WorkerPlugin):
    """Says what the worker has, and ends the guests of jobs that nobody waits for any more: who asked was killed or
    interrupted, or the scheduler is gone."""

    idempotent = True  # of several askers the first one's stays

    def __init__(self) -> None:
        self.name = f"ktstr-{ktstr_version()}"

    async def setup(self, worker: Worker) -> None:
        """Called by Dask in the worker's event loop."""
        self._running: dict[str, Cancel] = {}
        self._lock = threading.Lock()
        self.bench = WorkerBench(dict(os.environ))
        self.facts = await asyncio.to_thread(self.look)
        await asyncio.to_thread(self.bench.tidy)
        has = self.facts.capacity
        resources = {CPU: has.cpus, MEM: has.memory_mib * 3 // 4, KVM: has.cpus if self.facts.kvm.usable else 0}
        given = {name: amount for name, amount in resources.items() if name not in worker.state.total_resources}
        await worker.set_resources(**given)

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when the worker ends, or another plugin of this name replaces this one."""
        with self._lock:
            for cancel in self._running.values():
                cancel.set()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Called by Dask whenever a task's state changes."""
        if start == _RUNNING and finish not in _ENDED:
            with self._lock:
                cancel = self._running.get(str(key))
            if cancel is not None:
                cancel.set()

    def look(self) -> WorkerFacts:
        """What this worker is now."""
        return facts_here(os.environ, self.bench.finished.digests())

    def run(self, ask: Ask, key: str, announce: Callable[[str], None]) -> wire.Done | wire.Lacking:
        """Run a job as the task ``key``. Raises as ``WorkerBench.run``."""
        cancel = Cancel()
        with self._lock:
            self._running[key] = cancel
        try:
            return self.bench.run(ask, cancel, announce)
        finally:
            with self._lock:
                self._running.pop(key, None)


def _plugin(worker: Worker | None = None) -> KtstrWorker:
    """This worker's. Raises HostError where it has none."""
    found = (worker or get_worker()).plugins.get(f"ktstr-{ktstr_version()}")
    if not isinstance(found, KtstrWorker):
        raise HostError("this worker was not set up for ktstr", fix="doit doctor cluster=...")
    return found


def _attempt(work: Callable[[], T]) -> T | wire.Failed:
    """What ``work`` gives, or why it could not."""
    try:
        return work()
    except KtstrError as err:
        return wire.Failed(wire.parts_of(err))
    except OSError as err:
        return wire.Failed(wire.parts_of(full_or_denied(err, Path(err.filename or "."))))


def _answered(work: Callable[[], object]) -> bytes:
    """The same as ``Answer``."""
    came = _attempt(work)
    answer = wire.Answer(error=came.error) if isinstance(came, wire.Failed) else wire.Answer(wire.encode(came))
    return wire.encode(answer)


def run_job(data: bytes) -> bytes:
    """The task of a cell: ``Ask`` to ``Reply``."""
    worker = get_worker()
    key = str(worker.get_current_task())

    def work() -> wire.Done | wire.Lacking:
        ask = wire.decode(data, Ask)

        def announce(what: str) -> None:
            worker.log_event(ask.topic, {"ticket": ask.ticket, "what": what, "at": worker.address})

        return _plugin(worker).run(ask, key, announce)

    return wire.encode(wire.Reply(worker.address, _attempt(work)))


async def tell_facts(dask_worker: Worker) -> bytes:
    """``WorkerFacts``, read now. A worker that was set up by another ktstr than its own has no plugin of its own, and
    tells that."""
    plugin = dask_worker.plugins.get(f"ktstr-{ktstr_version()}")
    look = plugin.look if isinstance(plugin, KtstrWorker) else lambda: facts_here(os.environ)
    return await asyncio.to_thread(_answered, look)


def tell_version() -> bytes:
    """``ktstr_version``, of the scheduler too."""
    return _answered(ktstr_version)


async def tell_locks() -> bytes:
    """The locks of the worker's host: ``Locks``."""
    return await asyncio.to_thread(_answered, lambda: upkeep.locks_here(os.environ))


async def clean_up(dry_run: bool) -> bytes:
    """Remove what killed processes left on the worker's host: ``Cleaned``."""
    return await asyncio.to_thread(_answered, lambda: upkeep.clean_here(os.environ, dry_run=dry_run))


async def take_manifest(data: bytes, stored: bool, token: Token, dask_worker: Worker) -> bytes:
    """An entry of the cache is offered: ``Offered``, what of it has to be sent."""
    bench = _plugin(dask_worker).bench
    return await asyncio.to_thread(_answered, lambda: bench.offered(decode_manifest(data), stored, token))


async def take_piece(manifest: str, digest: str, data: bytes, dask_worker: Worker) -> bytes:
    """A piece of an entry that was offered arrives; ``manifest`` is its digest."""
    bench = _plugin(dask_worker).bench
    return await asyncio.to_thread(_answered, lambda: bench.accept(manifest, digest, data))


async def finish_entry(manifest: str, dask_worker: Worker) -> bytes:
    """All pieces of an entry have been sent."""
    bench = _plugin(dask_worker).bench
    return await asyncio.to_thread(_answered, lambda: bench.finish(manifest))


async def find_finished(digest: str, dask_worker: Worker) -> bytes:
    """What is kept of an earlier run of these inputs: ``Done``, or None."""
    bench = _plugin(dask_worker).bench
    return await asyncio.to_thread(_answered, lambda: bench.finished.find(digest))


async def read_finished(name: str, file: str, offset: int, dask_worker: Worker) -> bytes:
    """A piece of a large file that a run left, as it is; or ``Failed``."""
    bench = _plugin(dask_worker).bench
    return await asyncio.to_thread(_answered, lambda: bench.finished.piece(name, file, offset))


async def drop_finished(names: tuple[str, ...], dask_worker: Worker) -> bytes:
    """Results have arrived: they are kept no longer."""
    bench = _plugin(dask_worker).bench
    return await asyncio.to_thread(_answered, lambda: bench.finished.drop(names))
