"""What runs inside a worker's process: the plugin that Dask gives each worker, and the functions that an asker has run
there. Bytes go in and bytes come out; what can be wrong is an answer too."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from distributed import Worker, WorkerPlugin, get_worker

from ktstr.cancel import Cancel
from ktstr.cluster import upkeep, wire
from ktstr.cluster.artifacts import Token
from ktstr.cluster.bench import WorkerBench
from ktstr.cluster.facts import facts_here, ktstr_version
from ktstr.cluster.manifest import decode as decode_manifest
from ktstr.cluster.wire import CPU, KVM, MEM, Ask
from ktstr.errors import HostError, KtstrError
from ktstr.files import full_or_denied
from ktstr.planning.capacity import cells_mib

T = TypeVar("T")
TOPIC = "ktstr"  # of Dask's events: where workers announce what becomes of jobs
READY_S = 50.0  # how long a worker may take to be set up: its probe guest may have to be compiled
_RUNNING = "executing"
_ENDED = frozenset({"memory", "error"})


class KtstrWorker(WorkerPlugin):
    """Says what the worker has, and ends the guests of jobs that nobody waits for any more: who asked was killed or
    interrupted, or the scheduler is gone."""

    name = "ktstr"
    idempotent = True  # of several askers the first one's stays

    def __init__(self, *, is_local: bool = False) -> None:
        """``is_local``: of a cluster that is of one run; what interrupts that is not for its workers."""
        self._is_local = is_local

    async def setup(self, worker: Worker) -> None:
        """Called by Dask in the worker's event loop. What goes wrong is told to whoever asks what this worker is."""
        if self._is_local:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which is sent to all
        self.fault: KtstrError | None = None
        self._ready = asyncio.Event()
        self._running: dict[str, Cancel] = {}
        self._unwanted: set[str] = set()
        self._lock = threading.Lock()
        try:
            self.bench = WorkerBench(dict(os.environ), dict(worker.state.total_resources))
            await self._declare(worker)
        except KtstrError as err:
            self.fault = err
        except Exception as err:
            self.fault = _internal(err)
        self._ready.set()

    async def _declare(self, worker: Worker) -> None:
        """Say what cells may take of this worker; what the user said stands."""
        facts = await asyncio.to_thread(self.bench.facts, in_full=False)
        has = facts.capacity
        resources = {CPU: has.cpus, MEM: cells_mib(has.memory_mib), KVM: has.cpus if facts.kvm.usable else 0}
        missing = {name: amount for name, amount in resources.items() if name not in worker.state.total_resources}
        await worker.set_resources(**missing)

    async def ready(self) -> WorkerBench:
        """Once ``setup`` is over: a worker that has just come is heard of before. Raises what was wrong with it."""
        await self._ready.wait()
        if self.fault is not None:
            raise self.fault
        return self.bench

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when the worker ends."""
        with self._lock:
            for cancel in self._running.values():
                cancel.set()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Called by Dask whenever a task's state changes."""
        if start != _RUNNING or finish in _ENDED:
            return
        with self._lock:
            cancel = self._running.get(str(key))
            if cancel is None:
                self._unwanted.add(str(key))  # its thread has not come here yet
        if cancel is not None:
            cancel.set()

    def run(self, ask: Ask, key: str, announce: Callable[[str], None]) -> wire.Done | wire.Lacking:
        """Run a job as the task ``key``. Raises as ``WorkerBench.run``."""
        if self.fault is not None:
            raise self.fault
        cancel = Cancel()
        with self._lock:
            self._running[key] = cancel
            if key in self._unwanted:
                cancel.set()
        try:
            return self.bench.run(ask, cancel, announce)
        finally:
            with self._lock:
                self._running.pop(key, None)
                self._unwanted.discard(key)


def _plugin(worker: Worker) -> KtstrWorker:
    """This worker's. Raises HostError where it has none."""
    found = worker.plugins.get(KtstrWorker.name)
    if not isinstance(found, KtstrWorker):
        raise HostError("this worker was not set up for ktstr", fix="start its dask worker anew")
    return found


async def _asked(worker: Worker, work: Callable[[WorkerBench], object]) -> bytes:
    """What ``work`` gives, as ``Answer``; in a thread, for the worker's event loop is not to wait for a disk."""
    try:
        async with asyncio.timeout(READY_S):
            while KtstrWorker.name not in worker.plugins:
                await asyncio.sleep(0.1)
            bench = await _plugin(worker).ready()
    except TimeoutError:
        return _refused(HostError("it is still being set up", fix="look at its log"))
    except KtstrError as err:
        return _refused(err)
    return await asyncio.to_thread(_answered, lambda: work(bench))


def _refused(err: KtstrError) -> bytes:
    return wire.encode(wire.Answer(error=wire.parts_of(err)))


def _attempt(work: Callable[[], T]) -> T | wire.Failed:
    """What ``work`` gives, or why it could not."""
    try:
        return work()
    except KtstrError as err:
        return wire.Failed(wire.parts_of(err))
    except OSError as err:
        return wire.Failed(wire.parts_of(full_or_denied(err, Path(err.filename or "."))))
    except Exception as err:
        return wire.Failed(wire.parts_of(_internal(err)))


def _internal(err: Exception) -> HostError:
    """What ought not to be; where it happened is in the worker's log."""
    traceback.print_exception(err)
    return HostError(f"internal error: {type(err).__name__}: {err}", fix="look at the worker's log")


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
            worker.log_event(TOPIC, {"ticket": ask.ticket, "what": what, "at": worker.address})

        return _plugin(worker).run(ask, key, announce)

    return wire.encode(wire.Reply(worker.address, _attempt(work)))


async def tell_facts(asker: str, in_full: bool, dask_worker: Worker) -> bytes:
    """``WorkerFacts``, read now; ``in_full``: what its cache holds too. A worker of another version than the
    ``asker``'s tells what it is, set up or not; one whose set-up failed is set up again."""
    if asker != ktstr_version():
        return await asyncio.to_thread(_answered, lambda: facts_here(os.environ))
    there = dask_worker.plugins.get(KtstrWorker.name)
    if isinstance(there, KtstrWorker) and getattr(there, "fault", None) is not None:
        await there.setup(dask_worker)
    return await _asked(dask_worker, lambda bench: bench.facts(in_full=in_full))


def tell_version() -> bytes:
    """``ktstr_version``, of the scheduler too."""
    return _answered(ktstr_version)


async def tell_locks() -> bytes:
    """The locks of the worker's host: ``Locks``."""
    return await asyncio.to_thread(_answered, lambda: upkeep.locks_here(os.environ))


async def clean_up(dry_run: bool) -> bytes:
    """Remove what killed processes left on the worker's host: ``Cleaned``."""
    return await asyncio.to_thread(_answered, lambda: upkeep.clean_here(os.environ, dry_run=dry_run))


async def take_manifest(data: bytes, token: Token, dask_worker: Worker) -> bytes:
    """An entry of the cache is offered: ``Offered``, what of it has to be sent."""
    return await _asked(dask_worker, lambda bench: bench.offered(decode_manifest(data), token))


async def take_piece(manifest: str, digest: str, data: bytes, dask_worker: Worker) -> bytes:
    """A piece of an entry that was offered arrives; ``manifest`` is its digest."""
    return await _asked(dask_worker, lambda bench: bench.accept(manifest, digest, data))


async def finish_entry(manifest: str, dask_worker: Worker) -> bytes:
    """All pieces of an entry have been sent."""
    return await _asked(dask_worker, lambda bench: bench.finish(manifest))


async def find_finished(digest: str, ticket: str, dask_worker: Worker) -> bytes:
    """What is kept of a run of these inputs: ``Done``. ``ticket``: of that submission, empty for any."""
    return await _asked(dask_worker, lambda bench: bench.finished.find(digest, ticket))


async def read_finished(name: str, file: str, offset: int, dask_worker: Worker) -> bytes:
    """A piece of a large file that a run left, as it is."""
    return await _asked(dask_worker, lambda bench: bench.finished.piece(name, file, offset))


async def drop_finished(names: tuple[str, ...], dask_worker: Worker) -> bytes:
    """Results have arrived: they are kept no longer."""
    return await _asked(dask_worker, lambda bench: bench.finished.drop(names))
