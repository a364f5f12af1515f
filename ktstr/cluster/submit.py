"""Submissions: a job given to Dask for the workers that can run it, and waited for."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from distributed import Future

from ktstr.cancel import Cancel
from ktstr.cells.job import Asked, CellJob, CellResult
from ktstr.cluster import wire
from ktstr.cluster.connect import Connection
from ktstr.cluster.dispatch import Dispatch
from ktstr.cluster.supply import Lost
from ktstr.cluster.wire import Ask, Done, Failed, Lacking, Reply
from ktstr.cluster.workers import Homes, able, resources_for
from ktstr.errors import HostError

POLL_S = 0.2  # how soon an interruption is seen
JOIN_S = 30.0  # how long a job waits for a worker that can run it: one that was lost is started anew by its nanny
FIX = "doit doctor cluster=..."


@dataclass
class Tries:
    """What was tried of a job. ``runs`` began; ``avoided``: how each worker failed it, by address; ``supplied``: the
    one that was just sent what it lacked."""

    runs: int = 0
    avoided: dict[str, str] = field(default_factory=dict)
    supplied: str | None = None


@dataclass(frozen=True)
class Came:
    """What came of a submission: the answer of the worker at ``address``; None when that was lost, which may have been
    after it had ``measured`` the job."""

    address: str
    body: Done | Lacking | None
    measured: bool = False


class NotWanted(Exception):
    """The run is interrupted."""


@dataclass(frozen=True)
class Wish:
    """A job, who wants it, and whether he still does."""

    ask: Ask
    asked: Asked
    cancel: Cancel


class Submissions:
    """All of one asker. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._homes, self._lock = connection, Homes(), threading.Lock()

    def submit(self, wish: Wish, tries: Tries) -> Came:
        """Have it run. Raises NotWanted, HostError when no worker can run it, Lost when there is no scheduler."""
        ask, job = wish.ask, wish.ask.job
        with self._counting(job) as count:
            allowed = self._allowed(wish, tries)
            if len(allowed) == 1:
                count(allowed[0])
            dispatch = Dispatch(secrets.token_hex(12), set(allowed))
            workers = [one for one in self._connection.fit() if one.address in dispatch.allowed]
            if not workers:
                return Came(allowed[0], None)
            data = wire.encode(
                Ask(job=job, needs=ask.needs, ticket=dispatch.ticket, topic=ask.topic, version=ask.version)
            )
            future = self._connection.submit(dispatch, data, resources_for(job, workers))
            try:
                return self._awaited(future, dispatch, tries, wish, count)
            finally:
                self._connection.forget(dispatch)
                future.release()  # whoever runs it still ends its guest
                tries.runs += len(dispatch.starts)

    @contextmanager
    def _counting(self, job: CellJob) -> Iterator[Callable[[str], None]]:
        """Takes the workers that the job counts on, for the length of the block."""
        counted: list[str] = []

        def count(address: str) -> None:
            with self._lock:
                if address not in counted:
                    counted.append(address)
                    self._homes.starts(job, address)

        try:
            yield count
        finally:
            with self._lock:
                for address in counted:
                    self._homes.ends(job, address)

    def _allowed(self, wish: Wish, tries: Tries) -> tuple[str, ...]:
        """Where the job may go now. Waits for a worker that can run it."""
        waited = 0.0
        while not wish.cancel.is_set():
            self._check_alive()
            workers = [one for one in able(wish.ask.job, self._connection.fit()) if one.address not in tries.avoided]
            if tries.supplied in {worker.address for worker in workers}:
                return (str(tries.supplied),)
            if workers:
                with self._lock:
                    return self._homes.choose(wish.ask.job, workers)
            if waited >= JOIN_S:
                raise HostError(f"no worker of {self._connection.address} can run it{self.told(tries)}", fix=FIX)
            wish.cancel.wait(POLL_S)
            waited += POLL_S
        raise NotWanted

    def told(self, tries: Tries) -> str:
        """How workers failed a job, in words that follow others; empty when none did."""
        return "".join(f"; worker {self._connection.name_of(at)} {how}" for at, how in tries.avoided.items())

    def _check_alive(self) -> None:
        if not self._connection.is_alive:
            raise Lost(f"the scheduler {self._connection.address} was lost", fix="start it, and run the command again")

    def _awaited(
        self, future: Future[bytes], dispatch: Dispatch, tries: Tries, wish: Wish, count: Callable[[str], None]
    ) -> Came:
        seen = 0
        while not wish.cancel.is_set():
            dispatch.changed.wait(POLL_S)
            dispatch.changed.clear()
            while seen < len(dispatch.starts):
                count(dispatch.starts[seen])
                wish.asked.started(self._connection.name_of(dispatch.starts[seen]))
                seen += 1
            given_up = dispatch.given_up(tries.runs)
            if given_up is not None:
                return Came(given_up, None, measured=dispatch.measured is not None)
            if future.done():
                return self._answer(future, wish.ask.job)
            self._check_alive()
        raise NotWanted

    def _answer(self, future: Future[bytes], job: CellJob) -> Came:
        try:
            data = future.result(timeout=60)
        except Exception as err:
            self._check_alive()
            raise self._connection.why(err) from err
        reply = wire.decode(data, Reply)
        if isinstance(reply.body, Failed):  # a fault of the worker's
            error = reply.body.error
            return Came(reply.at, Done(CellResult(job.name, job.input_digest, error=error)))
        return Came(reply.at, reply.body)
