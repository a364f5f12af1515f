"""Submissions: a job given to Dask for the workers that can run it, and waited for."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ktstr.cancel import Cancel
from ktstr.cells.job import Asked, CellJob, CellResult
from ktstr.cluster import wire
from ktstr.cluster.connect import Connection
from ktstr.cluster.dispatch import Dispatch
from ktstr.cluster.facts import ktstr_version
from ktstr.cluster.link import POLL_S, Task
from ktstr.cluster.supply import Lost
from ktstr.cluster.wire import Ask, Done, Failed, Lacking, Need, Reply
from ktstr.cluster.workers import Homes, KnownWorker, able, resources_for
from ktstr.errors import HostError

JOIN_S = 30.0  # how long jobs wait for a worker that can run them: one that was lost is started anew by its nanny


@dataclass
class Tries:
    """What was tried of a job. ``runs_lost``: runs that ended with their worker; ``avoided``: how each worker failed
    it, by address; ``supplied``: the one that was just sent what it lacked."""

    runs_lost: int = 0
    avoided: dict[str, str] = field(default_factory=dict)
    supplied: str | None = None


@dataclass(frozen=True)
class Came:
    """What came of a submission: the answer of the worker at ``address``; None when that was lost. ``ticket``: the
    submission's; ``measured``: the worker has, or had, a result."""

    address: str
    ticket: str
    body: Done | Lacking | None
    measured: bool = False


class NotWanted(Exception):
    """The run is interrupted, or has seen enough."""


@dataclass(frozen=True)
class Wish:
    """A job, what it needs, who wants it, and whether he still does."""

    job: CellJob
    needs: tuple[Need, ...]
    asked: Asked
    cancel: Cancel

    def check(self, *, begun: bool) -> None:
        """Raises NotWanted. What has ``begun`` is ended by an interruption alone."""
        if self.cancel.is_set() or not (begun or self.asked.is_wanted()):
            raise NotWanted


class _Counted:
    """The workers that a job counts on, until it is closed. The caller of ``add`` holds no lock."""

    def __init__(self, homes: Homes, lock: threading.Lock, job: CellJob) -> None:
        self._homes, self._lock, self._job = homes, lock, job
        self._addresses: list[str] = []

    def choose(self, workers: Sequence[KnownWorker]) -> tuple[str, ...]:
        """Where the job may go; it counts there at once where that is one worker alone."""
        with self._lock:
            allowed = self._homes.choose(self._job, workers)
            if len(allowed) == 1:
                self._add(allowed[0])
        return allowed

    def add(self, address: str) -> None:
        with self._lock:
            self._add(address)

    def _add(self, address: str) -> None:
        if address not in self._addresses:
            self._addresses.append(address)
            self._homes.starts(self._job, address)

    def close(self) -> None:
        with self._lock:
            for address in self._addresses:
                self._homes.ends(self._job, address)
            self._addresses.clear()


class Submissions:
    """All of one asker. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._homes, self._lock = connection, Homes(), threading.Lock()
        self._nobody_since: dict[tuple[str, tuple[str, ...]], float] = {}  # by what jobs run on

    def submit(self, wish: Wish, tries: Tries) -> Came:
        """Have it run. Raises NotWanted, HostError when no worker can run it, Lost when there is no scheduler."""
        counted = _Counted(self._homes, self._lock, wish.job)
        try:
            return self._submit(wish, tries, counted)
        finally:
            counted.close()

    def _submit(self, wish: Wish, tries: Tries, counted: _Counted) -> Came:
        workers = self._able(wish, tries)
        if tries.supplied in {worker.address for worker in workers}:
            counted.add(str(tries.supplied))
            allowed: tuple[str, ...] = (str(tries.supplied),)
        else:
            allowed = counted.choose(workers)
        dispatch = Dispatch(secrets.token_hex(12), frozenset(allowed))
        chosen = [worker for worker in workers if worker.address in dispatch.allowed]
        ask = Ask(job=wish.job, needs=wish.needs, ticket=dispatch.ticket, version=ktstr_version())
        task = self._connection.submit(dispatch, wire.encode(ask), resources_for(wish.job, chosen))
        try:
            return _Awaited(self._connection, dispatch, task, wish, tries).come(counted)
        finally:
            self._connection.forget(dispatch)
            task.release()
            for address in dispatch.runs_lost():
                tries.avoided[address] = "was lost"
                tries.runs_lost += 1

    def _able(self, wish: Wish, tries: Tries) -> list[KnownWorker]:
        """The workers that can run the job. Waits for one; not longer than ``JOIN_S`` since the last was there."""
        key = (wish.job.accel, wish.job.host_class)
        while True:
            wish.check(begun=False)
            check_alive(self._connection)
            workers = able(wish.job, self._connection.roster.fit())
            left = [worker for worker in workers if worker.address not in tries.avoided]
            with self._lock:
                if workers:
                    self._nobody_since.pop(key, None)
                since = time.monotonic() - self._nobody_since.setdefault(key, time.monotonic()) if not workers else 0.0
            if left:
                return left
            if since >= JOIN_S or workers:  # all that are there failed it
                told = self.told(tries)
                raise HostError(
                    f"no worker of {self._connection.address} can run it{told}", fix=self._connection.link.fix
                )
            wish.cancel.wait(POLL_S)

    def told(self, tries: Tries) -> str:
        """How workers failed a job, in words that follow others; empty when none did."""
        name_of = self._connection.roster.name_of
        return "".join(f"; worker {name_of(at)} {how}" for at, how in tries.avoided.items())


def check_alive(connection: Connection) -> None:
    """Raise Lost where the scheduler is gone."""
    if not connection.link.is_alive:
        raise Lost(f"the scheduler {connection.address} was lost", fix="start it, and run the command again")


@dataclass(frozen=True)
class _Awaited:
    """A submission that is on its way."""

    connection: Connection
    dispatch: Dispatch
    task: Task
    wish: Wish
    tries: Tries

    def come(self, counted: _Counted) -> Came:
        """What comes of it. ``counted``: the workers that begin it are added."""
        dispatch, seen = self.dispatch, 0
        while True:
            dispatch.changed.wait(POLL_S)
            dispatch.changed.clear()
            for address in dispatch.starts[seen:]:
                counted.add(address)
                self.wish.asked.started(self.connection.roster.name_of(address))
                seen += 1
            self.wish.check(begun=seen > 0)
            over = self.task.is_over
            given_up = dispatch.given_up(self.tries.runs_lost)
            if given_up is not None and not (over and self._is_answered()):
                return Came(given_up, dispatch.ticket, None, measured=dispatch.measured is not None)
            if over:
                return self._answer()
            check_alive(self.connection)

    def _is_answered(self) -> bool:
        """Whether the answer of the worker that measured it is here, whatever became of that worker since."""
        try:
            return self._reply().at == self.dispatch.measured
        except Exception:
            return False

    def _reply(self) -> Reply:
        data = self.task.value()
        return wire.decode(data if isinstance(data, bytes) else b"", Reply)

    def _answer(self) -> Came:
        dispatch, job = self.dispatch, self.wish.job
        try:
            reply = self._reply()
        except Exception as err:
            check_alive(self.connection)
            raise self.connection.link.why(err) from err
        if dispatch.measured not in (None, reply.at):  # a second run: its result counts for nothing
            return Came(str(dispatch.measured), dispatch.ticket, None, measured=True)
        measured = dispatch.measured is not None
        if isinstance(reply.body, Failed):  # a fault of the worker's
            error = CellResult(job.name, job.input_digest, error=reply.body.error)
            return Came(reply.at, dispatch.ticket, Done(error), measured=measured)
        return Came(reply.at, dispatch.ticket, reply.body, measured=measured)
