"""A connection to a Dask cluster: its workers, as they come and go, and calls to them."""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from distributed import Client, Future, LocalCluster

from ktstr.cluster import plugin, wire
from ktstr.cluster.address import LOCAL
from ktstr.cluster.artifacts import Token
from ktstr.cluster.dispatch import Dispatch
from ktstr.cluster.encryption import check_encryption
from ktstr.cluster.facts import SAME_KTSTR, Fault, Span, WorkerFacts, ktstr_version, unfit
from ktstr.cluster.supply import Lost
from ktstr.cluster.survey import INSTALL, SchedulerSeen
from ktstr.cluster.wire import Answer, Offered
from ktstr.cluster.workers import KnownWorker, names_of
from ktstr.errors import HostError, KtstrError
from ktstr.host.cache import cache_root
from ktstr.host.leftovers import DASK
from ktstr.host.limits import usable

T = TypeVar("T")
CONNECT_S = 15.0
SET_UP_S = 60.0  # for a worker's plugin: its host may have to compile the VMM
FACTS_S = 60.0  # for what a worker tells of itself: the same, where it has just come
_FLUSH_S = 1.0  # how often workers are told what has arrived


class Connection:
    """Open from ``connect`` to ``close``. Safe from any thread.

    ``on_change`` is told of each worker that comes to be known, changes or goes.
    """

    def __init__(self, address: str, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.address, self._say = address, say
        self.topic = f"ktstr-{secrets.token_hex(8)}"
        self.workers: dict[str, KnownWorker] = {}
        self.gone: dict[str, str] = {}  # names of workers that were lost, by address
        self._dispatches: dict[str, Dispatch] = {}
        self._arrived: dict[str, list[str]] = {}
        self._changes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._held = ExitStack()
        if not environ.get("KTSTR_DEBUG"):
            self._quiet()
        self._client = self._connected(environ)
        self._watch()

    @staticmethod
    def _quiet() -> None:
        """What Dask logs of connections that come and go is told as what became of cells."""
        for name in ("distributed", "distributed.client"):  # those that Dask gives a level
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    def _connected(self, environ: Mapping[str, str]) -> Client:
        try:
            if self.address == LOCAL:
                return self._local(environ)
            check_encryption(self.address)
            client = Client(self.address, timeout=CONNECT_S, set_as_default=False, name="ktstr")
            self._held.callback(client.close, 5)
            return client
        except (OSError, TimeoutError, ValueError, RuntimeError) as err:
            self._held.close()
            raise HostError(
                f"cluster={self.address}: cannot be reached: {first_line(err)}",
                fix="does dask scheduler run there, by that scheme? tls:// needs certificates of one CA on both sides",
            ) from err

    def _local(self, environ: Mapping[str, str]) -> Client:
        scratch = cache_root(environ) / DASK
        cluster = LocalCluster(
            n_workers=1, threads_per_worker=usable().cpus, dashboard_address=":0", local_directory=str(scratch),
            memory_limit=0, host="127.0.0.1", silence_logs=50,
        )  # fmt: skip
        self._held.callback(cluster.close, 10)
        client = Client(cluster, timeout=CONNECT_S, set_as_default=False, name="ktstr")
        self._held.callback(client.close, 5)
        return client

    def _watch(self) -> None:
        """From now on know who is there. The first look is over when this returns."""
        try:
            for topic, handler in (("all", self._on_membership), (self.topic, self._on_announcement)):
                self._client.subscribe_topic(topic, handler)
                self._held.callback(self._unsubscribe, topic)
            self._set_up()
            self._look(tuple(self._given_names()))
        except Exception as err:
            self._held.close()
            raise self.why(err) from err
        thread = threading.Thread(target=self._keep_looking, name="cluster", daemon=True)
        thread.start()
        self._held.callback(thread.join, 10)
        self._held.callback(self._changes.put, None)

    def _set_up(self) -> None:
        """Give each worker the plugin, those that come later too. What one of them lacks for it, or that it does not
        answer, is found when it is looked at."""

        def register() -> None:
            with suppress(Exception):
                self._client.register_plugin(plugin.KtstrWorker(is_local=self.address == LOCAL))

        thread = threading.Thread(target=register, name="cluster-set-up", daemon=True)
        thread.start()
        thread.join(SET_UP_S)

    def _unsubscribe(self, topic: str) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self._client.unsubscribe_topic(topic)

    def close(self) -> None:
        """Tell the workers what has arrived, and leave."""
        self._held.close()

    def _given_names(self) -> dict[str, object]:
        """What Dask calls its workers, by address."""
        info = self._client.scheduler_info(n_workers=-1)
        return {address: worker["name"] for address, worker in info["workers"].items()}

    def _look(self, addresses: tuple[str, ...]) -> None:
        """Ask these workers what they are."""
        if not addresses:
            return
        began = time.time()
        answers = self.ask(addresses, FACTS_S, plugin.tell_facts, ktstr_version())
        span = Span(began, time.time())
        there = self._given_names()
        found = {address: _facts(answers.get(address)) for address in addresses if address in there}
        with self._lock:
            hosts = {at: one.facts.host for at, one in self.workers.items() if one.facts is not None}
            hosts |= {at: one.host if isinstance(one, WorkerFacts) else at for at, one in found.items()}
            names = names_of(hosts, there)
            for address, facts in found.items():
                if isinstance(facts, WorkerFacts):
                    known = KnownWorker(address, names[address], facts, unfit(facts, span))
                else:
                    known = KnownWorker(address, names[address], None, (facts,))
                self.workers[address] = known
        for known in [self.workers[address] for address in found if address in self.workers]:
            if known.faults:
                faults = "; it ".join(fault.what for fault in known.faults)
                self._say(f"worker {known.name} is left out: it {faults}")

    def look_again(self, address: str) -> None:
        """Ask a worker once more what it is, some time soon."""
        self._changes.put(address)

    def _keep_looking(self) -> None:
        while True:
            try:
                address = self._changes.get(timeout=_FLUSH_S)
            except queue.Empty:
                self._flush()
                continue
            if address is None:
                self._flush()
                return
            with suppress(Exception):  # gone again, which is told too
                self._look((address,))

    def _on_membership(self, event: tuple[float, dict[str, Any]]) -> None:
        """In Dask's own thread: nothing here may wait."""
        action, address = event[1].get("action"), str(event[1].get("worker"))
        if action == "add-worker":
            self._changes.put(address)
        elif action == "remove-worker":
            with self._lock:
                known = self.workers.pop(address, None)
                if known is not None:
                    self.gone[address] = known.name
                dispatches = tuple(self._dispatches.values())
            for dispatch in dispatches:
                dispatch.worker_lost(address)

    def _on_announcement(self, event: tuple[float, dict[str, Any]]) -> None:
        """In Dask's own thread."""
        said = event[1]
        with self._lock:
            dispatch = self._dispatches.get(str(said.get("ticket")))
        if dispatch is not None:
            dispatch.announced(str(said.get("what")), str(said.get("at")))

    def name_of(self, address: str) -> str:
        """What messages call a worker, one that is gone too."""
        known = self.workers.get(address)
        return self.gone.get(address, address) if known is None else known.name

    def known(self) -> list[KnownWorker]:
        """All workers that are there now."""
        with self._lock:
            return list(self.workers.values())

    def fit(self) -> list[KnownWorker]:
        """The workers that cells can be run on now."""
        with self._lock:
            return [worker for worker in self.workers.values() if worker.is_fit]

    def submit(self, dispatch: Dispatch, data: bytes, resources: Mapping[str, int]) -> Future[bytes]:
        """Give a job to Dask. Raises Lost."""
        with self._lock:
            self._dispatches[dispatch.ticket] = dispatch
        try:
            future = self._client.submit(
                plugin.run_job, data, key=f"ktstr_cell-{dispatch.ticket}", workers=sorted(dispatch.allowed),
                resources=dict(resources), pure=False, retries=0,
            )  # fmt: skip
        except Exception as err:
            raise self.why(err) from err
        future.add_done_callback(lambda _: dispatch.changed.set())
        return future

    def forget(self, dispatch: Dispatch) -> None:
        """The submission is over."""
        with self._lock:
            self._dispatches.pop(dispatch.ticket, None)

    def arrived(self, address: str, kept: str) -> None:
        """What a worker keeps under this name has arrived; it is told soon."""
        with self._lock:
            self._arrived.setdefault(address, []).append(kept)

    def _flush(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, {}
        for address, names in arrived.items():
            if address not in self.workers:
                continue
            with suppress(Exception):  # what it is not told expires
                self._client.run(plugin.drop_finished, tuple(names), workers=[address])

    def call(self, address: str, kind: type[T], function: Callable[..., Any], *args: object) -> T:
        """Have a worker do something, and give its answer. Raises HostError with its words, Lost when it is gone."""
        if address not in self.workers:
            raise Lost(f"worker {self.name_of(address)} was lost", fix="doit doctor cluster=...")
        try:
            answer = self._client.run(function, *args, workers=[address])[address]
        except Exception as err:
            raise self.why(err) from err
        found = wire.decode(answer if isinstance(answer, bytes) else b"", Answer)
        if found.error is not None:
            raise HostError(f"worker {self.name_of(address)}: {found.error.message}", fix=found.error.fix)
        return wire.decode(found.value, kind)

    def ask(
        self, addresses: Sequence[str], within_s: float, function: Callable[..., Any], *args: object
    ) -> dict[str, object]:
        """Have workers do something, all at once. What each gave, by address; an exception for one that gave none."""

        async def one(address: str) -> object:
            call = self._client.run(function, *args, workers=[address], on_error="return", asynchronous=True)
            try:
                return (await asyncio.wait_for(call, within_s)).get(address)
            except TimeoutError:
                return TimeoutError(f"not within {within_s:.0f} s")
            except Exception as err:
                return err

        async def every() -> list[object]:
            return await asyncio.gather(*map(one, addresses))

        return dict(zip(addresses, self._client.sync(every), strict=True))

    def scheduler(self) -> SchedulerSeen:
        """What the scheduler is. Raises Lost."""
        try:
            scheduler: Any = self._client.scheduler
            told = self._client.sync(scheduler.versions, packages=[])
        except Exception as err:
            raise self.why(err) from err
        dask = str(told["packages"]["distributed"])
        try:
            answer = wire.decode(self._client.run_on_scheduler(plugin.tell_version), Answer)
            return SchedulerSeen(self.address, dask, wire.decode(answer.value, str))
        except Exception as err:
            missing = _missing_module(err)
            fault = f"has no {missing}" if missing else f"cannot say which ktstr it has: {first_line(err)}"
            return SchedulerSeen(self.address, dask, None, fault)

    @property
    def is_alive(self) -> bool:
        """Whether the scheduler is there."""
        return bool(self._client.status == "running")

    def why(self, err: BaseException) -> KtstrError:
        """An error of Dask's as one of ours."""
        if isinstance(err, KtstrError):
            return err
        if (missing := _missing_module(err)) is not None:
            return HostError(f"cluster={self.address}: has no {missing}", fix=INSTALL)
        return Lost(f"cluster={self.address}: {first_line(err)}", fix="doit doctor cluster=...")


class WorkerLine:
    """Calls to one worker, for ``Supply``."""

    def __init__(self, connection: Connection, address: str) -> None:
        self._connection, self._address = connection, address
        self.name = f"worker {connection.name_of(address)}"

    def offer(self, manifest: bytes, stored: bool, token: Token) -> Offered:
        """As ``Line``."""
        return self._connection.call(self._address, Offered, plugin.take_manifest, manifest, stored, token)

    def send(self, manifest: str, digest: str, data: bytes) -> None:
        """As ``Line``."""
        self._connection.call(self._address, type(None), plugin.take_piece, manifest, digest, data)

    def finish(self, manifest: str) -> None:
        """As ``Line``."""
        self._connection.call(self._address, type(None), plugin.finish_entry, manifest)


def _facts(answer: object) -> WorkerFacts | Fault:
    """What a worker is, or why nobody knows."""
    if not isinstance(answer, bytes):
        why = answer if isinstance(answer, BaseException) else OSError("it is gone")
        if (missing := _missing_module(why)) is not None:
            return Fault("ktstr", f"has no {missing}", INSTALL)
        if "AttributeError" in first_line(why):  # it has not what it was to call
            return Fault("ktstr", f"has another ktstr: {first_line(why)}", SAME_KTSTR)
        return Fault("answer", f"does not answer: {first_line(why)}", "look at its log, and start its dask worker anew")
    try:
        found = wire.decode(answer, Answer)
        if found.error is None:
            return wire.decode(found.value, WorkerFacts)
        return Fault("answer", f"cannot say what it is: {found.error.message}", found.error.fix or SAME_KTSTR)
    except HostError as err:
        return Fault("ktstr", f"has another ktstr: {err.message}", SAME_KTSTR)


def _missing_module(err: BaseException) -> str | None:
    """What somebody could not import; Dask gives some errors of others as text."""
    if isinstance(err, ModuleNotFoundError):
        return err.name
    found = re.search(r"ModuleNotFoundError\W+No module named '([\w.]+)'", str(err))
    return None if found is None else found[1]


def first_line(err: BaseException) -> str:
    """An error's kind and the first line of its text."""
    text = str(err).strip().partition("\n")[0]
    return f"{type(err).__name__}: {text}" if text else type(err).__name__
