"""Asking every worker of a cluster for the same, where no cell is run: each one's answer, or why it gave none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any, TypeVar

from ktstr.cancel import Cancel
from ktstr.cluster import wire
from ktstr.cluster.connect import Connection
from ktstr.cluster.link import first_line
from ktstr.cluster.survey import Surveyed
from ktstr.cluster.told import Told
from ktstr.cluster.workers import KnownWorker
from ktstr.errors import HostError

T = TypeVar("T")
ANSWER_S = 600.0  # removing many GB takes minutes


def visiting(address: str, environ: Mapping[str, str], cancel: Cancel) -> AbstractContextManager[Connection]:
    """A connection for the length of a block, which waits for no worker and says nothing of those that are left out.
    Raises HostError when the scheduler cannot be reached, Cancelled."""
    return closing(Connection(address, environ, lambda text: None, cancel, in_full=True))


def survey(connection: Connection) -> Surveyed:
    """The cluster as it is now. Raises HostError."""
    return Surveyed(connection.link.scheduler(), _by_name(connection))


def ask_workers(connection: Connection, kind: type[T], function: Callable[..., Any], *args: object) -> list[Told[T]]:
    """What all workers answer that are there, those too that run no cells; by name.

    Raises HostError when none is there.
    """
    workers = _by_name(connection)
    if not workers:
        raise HostError(f"cluster={connection.address}: has no worker", fix=f"dask worker {connection.address}")
    answers = connection.link.ask([one.address for one in workers if one.facts is not None], ANSWER_S, function, *args)
    return [_told(worker, kind, answers.get(worker.address)) for worker in workers]


def _told(worker: KnownWorker, kind: type[T], answer: object) -> Told[T]:
    if worker.facts is None:
        host = worker.address.partition("://")[2]
        return Told(worker.name, host, None, worker.why_left_out)
    host = worker.facts.host
    if not isinstance(answer, bytes):
        why = first_line(answer) if isinstance(answer, BaseException) else "it is gone"
        return Told(worker.name, host, None, f"it does not answer: {why}")
    try:
        return Told(worker.name, host, wire.opened(answer, kind))
    except HostError as err:
        return Told(worker.name, host, None, err.message)


def _by_name(connection: Connection) -> tuple[KnownWorker, ...]:
    return tuple(sorted(connection.roster.known(), key=lambda worker: (worker.name, worker.address)))
