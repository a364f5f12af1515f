"""A connection to a Dask scheduler: calls to workers, which end when nobody waits for them any more, and tasks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from distributed import Client, Future, LocalCluster

from ktstr.cancel import Cancel, Cancelled
from ktstr.cluster import plugin, wire
from ktstr.cluster.address import LOCAL
from ktstr.cluster.encryption import check_encryption
from ktstr.cluster.supply import Lost
from ktstr.cluster.survey import INSTALL, SchedulerSeen
from ktstr.errors import HostError, KtstrError
from ktstr.host.cache import cache_root
from ktstr.host.leftovers import DASK
from ktstr.host.limits import usable

T = TypeVar("T")
CONNECT_S = 15.0
CALL_S = 120.0  # for what a worker is asked while it runs cells: the disk of its cache may be slow
SET_UP_S = 60.0  # for a worker's plugin: its host may have to compile the VMM
POLL_S = 0.2  # how soon an interruption is seen


class Link:
    """Open until ``close``. Safe from any thread but Dask's own.

    Raises HostError when the scheduler cannot be reached. ``cancel`` ends every wait, which then raises Cancelled.
    """

    def __init__(self, address: str, environ: Mapping[str, str], cancel: Cancel) -> None:
        self.address, self._cancel = address, cancel
        self._held = ExitStack()
        if not environ.get("KTSTR_DEBUG"):
            _quiet()
        self._client = self._connected(environ)
        self._comm = self._client.scheduler_comm

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

    def close(self) -> None:
        """Leave; a cluster that was made for this run ends."""
        self._held.close()

    @property
    def fix(self) -> str:
        """What to do about a cluster."""
        return f"doit doctor cluster={self.address}"

    @property
    def is_alive(self) -> bool:
        """Whether it is the connection that was made: Dask itself connects again to a scheduler that is started anew,
        which knows nothing of what was asked of the one before."""
        return bool(self._client.status == "running" and self._client.scheduler_comm is self._comm)

    def subscribe(self, topic: str, handler: Callable[[tuple[float, dict[str, Any]]], None]) -> None:
        """Have ``handler`` told of what is logged there, in Dask's own thread, where nothing may wait."""
        self._client.subscribe_topic(topic, handler)
        self._held.callback(self._unsubscribe, topic)

    def _unsubscribe(self, topic: str) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self._client.unsubscribe_topic(topic)

    def set_up(self) -> None:
        """Give each worker the plugin, those that come later too. What one of them lacks for it, or that it does not
        answer, is found when it is looked at."""
        made = plugin.KtstrWorker(is_local=self.address == LOCAL)

        async def register() -> None:
            with suppress(Exception):
                await asyncio.wait_for(self._client.register_plugin(made), SET_UP_S)

        self._waited(register())

    def names(self) -> dict[str, object]:
        """What Dask calls its workers, by address."""
        info = self._client.scheduler_info(n_workers=-1)
        return {address: worker["name"] for address, worker in info["workers"].items()}

    def _waited(self, work: Coroutine[Any, Any, T]) -> T:
        """What something gives that runs in Dask's thread. Raises its errors, Cancelled."""
        loop: Any = self._client.loop
        begun = asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)
        while True:
            try:
                return begun.result(POLL_S)
            except concurrent.futures.TimeoutError:
                if begun.done():
                    raise
                if self._cancel.is_set():
                    begun.cancel()
                    raise Cancelled from None

    def ask(
        self, addresses: Sequence[str], within_s: float, function: Callable[..., Any], *args: object
    ) -> dict[str, object]:
        """Have workers do something, all at once. What each gave, by address; an exception for one that gave none.
        Raises Cancelled."""

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

        return dict(zip(addresses, self._waited(every()), strict=True))

    def call(self, address: str, kind: type[T], function: Callable[..., Any], *args: object) -> T:
        """Have one worker do something, and give its answer. Raises HostError with its words, Lost when it gives none,
        Cancelled."""
        answer = self.ask([address], CALL_S, function, *args)[address]
        if not isinstance(answer, bytes):
            raise self.why(answer if isinstance(answer, BaseException) else OSError("it is gone"))
        return wire.opened(answer, kind)

    def submit(self, function: Callable[..., Any], data: bytes, key: str, where: Mapping[str, Any]) -> Task:
        """Begin a task. ``where``: its workers and resources, as Dask takes them. Raises Lost."""
        try:
            future = self._client.submit(function, data, key=key, pure=False, retries=0, **where)
            loop: Any = self._client.loop
            gathered = asyncio.run_coroutine_threadsafe(self._gathered(future), loop.asyncio_loop)
        except Exception as err:
            raise self.why(err) from err
        return Task(future, gathered)

    async def _gathered(self, future: Future[bytes]) -> object:
        return await self._client.gather(future, asynchronous=True)

    def scheduler(self) -> SchedulerSeen:
        """What the scheduler is. Raises Lost."""
        try:
            scheduler: Any = self._client.scheduler
            told = self._client.sync(scheduler.versions, packages=[])
        except Exception as err:
            raise self.why(err) from err
        dask = str(told["packages"]["distributed"])
        try:
            version = wire.opened(self._client.run_on_scheduler(plugin.tell_version), str)
            return SchedulerSeen(self.address, dask, version)
        except Exception as err:
            missing = missing_module(err)
            fault = f"has no {missing}" if missing else f"cannot say which ktstr it has: {first_line(err)}"
            return SchedulerSeen(self.address, dask, None, fault)

    def why(self, err: BaseException) -> KtstrError:
        """An error of Dask's as one of ours."""
        if isinstance(err, KtstrError):
            return err
        if (missing := missing_module(err)) is not None:
            return HostError(f"cluster={self.address}: has no {missing}", fix=INSTALL)
        return Lost(f"cluster={self.address}: {first_line(err)}", fix=self.fix)


class Task:
    """A task that runs. Its value is fetched as it ends, which is when ``is_over``."""

    def __init__(self, future: Future[bytes], gathered: concurrent.futures.Future[object]) -> None:
        self._future, self._gathered = future, gathered

    def when_over(self, call: Callable[[], None]) -> None:
        """Have this called, in Dask's own thread."""
        self._gathered.add_done_callback(lambda _: call())

    @property
    def is_over(self) -> bool:
        return self._gathered.done()

    def value(self) -> object:
        """What it gave, once it is over. Raises whatever it raised."""
        return self._gathered.result(0)

    def release(self) -> None:
        """Nobody wants it any more: whoever runs it still is told."""
        self._gathered.cancel()
        self._future.release()


def _quiet() -> None:
    """What Dask logs of connections that come and go is told as what became of cells."""
    for name in ("distributed", "distributed.client"):  # those that Dask gives a level
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def missing_module(err: BaseException) -> str | None:
    """What somebody could not import; Dask gives some errors of others as text."""
    if isinstance(err, ModuleNotFoundError):
        return err.name
    found = re.search(r"ModuleNotFoundError\W+No module named '([\w.]+)'", str(err))
    return None if found is None else found[1]


def first_line(err: BaseException) -> str:
    """An error's kind and the first line of its text."""
    text = str(err).strip().partition("\n")[0]
    return f"{type(err).__name__}: {text}" if text else type(err).__name__
